// A Node program whose event loop turns once in as many milliseconds as it is told. It ends with its parent.
'use strict'

const parent = process.ppid
const span = Number(process.argv[2])
let sink = 0

function compute(until) {
  while (Date.now() < until) for (let step = 0; step < 200000; step++) sink = (sink * 31 + step) | 0
}

function oneTurn() {
  if (process.ppid !== parent) process.exit(0)
  compute(Date.now() + span)
  setImmediate(oneTurn)
}

oneTurn()
