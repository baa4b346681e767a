# One executable per module test. Built with -Dchord_tests=1.
{
  'targets': [
  ],
}
