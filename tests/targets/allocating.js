// A Node program that allocates: `takeMuch` takes three quarters of the bytes, `takeLittle` the rest. It ends with its parent.
'use strict'

const parent = process.ppid
let kept = []

function takeMuch() {
  for (let step = 0; step < 300; step++) kept.push(new Array(1000).fill(step))
}

function takeLittle() {
  for (let step = 0; step < 100; step++) kept.push(new Array(1000).fill(step))
}

function oneRound() {
  if (process.ppid !== parent) process.exit(0)
  kept = []
  takeMuch()
  takeLittle()
  setTimeout(oneRound, 5)
}

oneRound()
