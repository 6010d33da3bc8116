// A Node program with two hot functions: `spinMuch` has three quarters of its CPU time, `spinLittle` the rest. It ends with its parent.
'use strict'

const parent = process.ppid
let sink = 0

function cpuSeconds() {
  const used = process.cpuUsage()
  return (used.user + used.system) / 1e6
}

function spinMuch(until) {
  while (cpuSeconds() < until) for (let step = 0; step < 200000; step++) sink = (sink * 31 + step) | 0
}

function spinLittle(until) {
  while (cpuSeconds() < until) for (let step = 0; step < 200000; step++) sink = (sink * 31 + step) | 0
}

// A round at a time, so that the event loop turns: a program that never lets it cannot be asked for anything.
function oneRound() {
  if (process.ppid !== parent) process.exit(0)
  const round = 0.015 + 0.03 * Math.random()
  spinMuch(cpuSeconds() + 0.75 * round)
  spinLittle(cpuSeconds() + 0.25 * round)
  setImmediate(oneRound)
}

oneRound()
