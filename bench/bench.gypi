# Bench programs in C, linked with the core. Built with -Dchord_tests=1.
{
  'targets': [
  ],
}
