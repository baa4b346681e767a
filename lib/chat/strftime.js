'use strict'

const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December']
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']

const pad = (n, width = 2) => String(n).padStart(width, '0')

const FIELDS = {
  Y: (d) => String(d.getFullYear()),
  y: (d) => pad(d.getFullYear() % 100),
  m: (d) => pad(d.getMonth() + 1),
  d: (d) => pad(d.getDate()),
  e: (d) => String(d.getDate()).padStart(2),
  B: (d) => MONTHS[d.getMonth()],
  b: (d) => MONTHS[d.getMonth()].slice(0, 3),
  A: (d) => DAYS[d.getDay()],
  a: (d) => DAYS[d.getDay()].slice(0, 3),
  H: (d) => pad(d.getHours()),
  I: (d) => pad(d.getHours() % 12 || 12),
  p: (d) => (d.getHours() < 12 ? 'AM' : 'PM'),
  M: (d) => pad(d.getMinutes()),
  S: (d) => pad(d.getSeconds()),
  j: (d) => pad(Math.round((new Date(d.getFullYear(), d.getMonth(), d.getDate()) - new Date(d.getFullYear(), 0, 1)) / 86_400_000) + 1, 3),
  '%': () => '%',
}

/** A date in Python's format, with English names in every locale: those that models were trained with. `%-d`: without a leading zero. */
function strftime(date, format) {
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, bare, field) => {
    if (!Object.hasOwn(FIELDS, field)) return whole
    const text = FIELDS[field](date)
    return bare ? text.replace(/^[0 ]+(?=\d)/, '') : text
  })
}

module.exports = { strftime }
