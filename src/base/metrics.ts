/** Counters, gauges and histograms, as `.stats` and the Prometheus text format show them (spec vfs section 10).
 *
 *  Plain numbers in plain arrays: adding costs a few nanoseconds, so hot paths count without asking whether anybody looks
 *  (prom-client's observe costs 205 ns). The text format is a page of code, which is why there is no library for it. */

import { assert } from './assert.ts'

/** Names get this prefix on the way out. */
const PREFIX = 'juicefs_'
/** `.stats` shows the values of these labels as a suffix of the name, and no others. */
const STATS_LABELS = new Set(['method', 'errno'])

export interface Counter {
  /** `label`: the values of the labels, in their order, joined by a comma. */
  add(n: number, label?: string): void
}
export interface Histogram {
  observe(value: number, label?: string): void
}

/** One line of a family that is read when somebody looks: the values of its labels, in their order. */
export type Reading = readonly [labels: readonly string[], value: number]

type Family = CounterFamily | ReadFamily | HistogramFamily

export class Metrics {
  readonly #families = new Map<string, Family>()

  /** A number that only grows. `labels`: names, such as `['method']`. The same name twice is the same counter. */
  counter(name: string, help: string, labels: readonly string[] = []): Counter {
    return this.#register(name, () => new CounterFamily(help, labels), CounterFamily)
  }

  /** A number read when somebody looks. Given twice, the later reader counts. */
  gauge(name: string, help: string, read: () => number): void {
    this.#families.set(name, new ReadFamily('gauge', help, [], () => [[[], read()]]))
  }

  /** A number for each combination of labels that there is at the moment. */
  gauges(name: string, help: string, labels: readonly string[], read: () => Iterable<Reading>): void {
    this.#families.set(name, new ReadFamily('gauge', help, labels, read))
  }

  /** Counters that somebody keeps in an array of their own, where even finding one by its label costs too much. */
  counters(name: string, help: string, labels: readonly string[], read: () => Iterable<Reading>): void {
    this.#families.set(name, new ReadFamily('counter', help, labels, read))
  }

  /** `buckets`: ascending upper bounds, without +Inf. */
  histogram(name: string, help: string, buckets: readonly number[], labels: readonly string[] = []): Histogram {
    return this.#register(name, () => new HistogramFamily(help, buckets, labels), HistogramFamily)
  }

  /** The text of `.stats`: one `name value` a line, families sorted by name. */
  renderStats(): string {
    let text = ''
    for (const [name, family] of this.#sorted()) {
      for (const [suffix, labels, value] of family.stats()) {
        text += `${PREFIX}${name}${labels}${suffix} ${plainDecimal(value)}\n`
      }
    }
    return text
  }

  /** The Prometheus text exposition format, version 0.0.4. */
  renderPrometheus(commonLabels: Readonly<Record<string, string>>): string {
    const common = Object.entries(commonLabels)
    let text = ''
    for (const [name, family] of this.#sorted()) {
      text += `# HELP ${PREFIX}${name} ${family.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n`
      text += `# TYPE ${PREFIX}${name} ${family.type}\n`
      for (const [suffix, labels, value] of family.samples()) {
        text += `${PREFIX}${name}${suffix}${labelText(common, labels)} ${value}\n`
      }
    }
    return text
  }

  #sorted(): [string, Family][] {
    return [...this.#families].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  #register<F extends Family>(name: string, make: () => F, kind: new (...options: never[]) => F): F {
    const known = this.#families.get(name)
    if (known) {
      assert(known instanceof kind, `metric ${name} is of one kind`)
      return known
    }
    const family = make()
    this.#families.set(name, family)
    return family
  }
}

/** Upper bounds start, start·factor, … (`count` of them). */
export const exponentialBuckets = (start: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, k) => start * factor ** k)

export const linearBuckets = (start: number, step: number, count: number): number[] =>
  Array.from({ length: count }, (_, k) => start + step * k)

type Pairs = readonly (readonly [name: string, value: string])[]
type StatsLine = readonly [suffix: string, labels: string, value: number]
type Sample = readonly [suffix: string, labels: Pairs, value: number]

class CounterFamily implements Counter {
  readonly type = 'counter'
  readonly help: string
  readonly #labels: readonly string[]
  #total = 0
  readonly #byLabel = new Map<string, number>()

  constructor(help: string, labels: readonly string[]) {
    this.help = help
    this.#labels = labels
  }

  add(n: number, label?: string): void {
    if (label === undefined) this.#total += n
    else this.#byLabel.set(label, (this.#byLabel.get(label) ?? 0) + n)
  }

  *stats(): Generator<StatsLine> {
    for (const [pairs, value] of this.#values()) yield ['', statsLabels(pairs), value]
  }
  *samples(): Generator<Sample> {
    for (const [pairs, value] of this.#values()) yield ['', pairs, value]
  }
  *#values(): Generator<[Pairs, number]> {
    if (this.#labels.length === 0) yield [[], this.#total]
    for (const [label, value] of this.#byLabel) yield [pairsOf(this.#labels, label), value]
  }
}

class ReadFamily {
  readonly type: 'gauge' | 'counter'
  readonly help: string
  readonly #labels: readonly string[]
  readonly #read: () => Iterable<Reading>

  constructor(type: 'gauge' | 'counter', help: string, labels: readonly string[], read: () => Iterable<Reading>) {
    this.type = type
    this.help = help
    this.#labels = labels
    this.#read = read
  }

  *stats(): Generator<StatsLine> {
    for (const [, pairs, value] of this.samples()) yield ['', statsLabels(pairs), value]
  }
  *samples(): Generator<Sample> {
    for (const [values, value] of this.#read()) {
      yield ['', this.#labels.map((name, i) => [name, values[i] ?? ''] as const), value]
    }
  }
}

class HistogramFamily implements Histogram {
  readonly type = 'histogram'
  readonly help: string
  readonly #bounds: readonly number[]
  readonly #labels: readonly string[]
  readonly #plain: Distribution
  readonly #byLabel = new Map<string, Distribution>()

  constructor(help: string, bounds: readonly number[], labels: readonly string[]) {
    this.help = help
    this.#bounds = bounds
    this.#labels = labels
    this.#plain = new Distribution(bounds)
  }

  observe(value: number, label?: string): void {
    let distribution = label === undefined ? this.#plain : this.#byLabel.get(label)
    if (distribution === undefined) {
      distribution = new Distribution(this.#bounds)
      this.#byLabel.set(label ?? '', distribution)
    }
    distribution.observe(value)
  }

  *stats(): Generator<StatsLine> {
    for (const [pairs, { count, sum }] of this.#values()) {
      yield ['_total', statsLabels(pairs), count]
      yield ['_sum', statsLabels(pairs), sum]
    }
  }
  *samples(): Generator<Sample> {
    for (const [pairs, distribution] of this.#values()) {
      let below = 0
      for (const [i, bound] of this.#bounds.entries()) {
        below += distribution.counts[i] ?? 0
        yield ['_bucket', [...pairs, ['le', String(bound)]], below]
      }
      yield ['_bucket', [...pairs, ['le', '+Inf']], distribution.count]
      yield ['_sum', pairs, distribution.sum]
      yield ['_count', pairs, distribution.count]
    }
  }
  *#values(): Generator<[Pairs, Distribution]> {
    if (this.#labels.length === 0) yield [[], this.#plain]
    for (const [label, distribution] of this.#byLabel) yield [pairsOf(this.#labels, label), distribution]
  }
}

class Distribution {
  readonly #bounds: Float64Array
  /** how many fell into each bucket, the last one unbounded */
  readonly counts: Float64Array
  count = 0
  sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = Float64Array.from(bounds)
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    const bounds = this.#bounds
    let low = 0
    let high = bounds.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (value <= bounds[middle]!) high = middle
      else low = middle + 1
    }
    this.counts[low]!++
    this.count++
    this.sum += value
  }
}

const pairsOf = (names: readonly string[], label: string): Pairs => {
  const values = label.split(',')
  return names.map((name, i) => [name, values[i] ?? ''] as const)
}

const statsLabels = (pairs: Pairs): string =>
  pairs.map(([name, value]) => (STATS_LABELS.has(name) ? `_${value}` : '')).join('')

function labelText(common: Pairs, own: Pairs): string {
  const le = own.filter(([name]) => name === 'le')
  const sorted = [...common, ...own.filter(([name]) => name !== 'le')].sort(([a], [b]) => (a < b ? -1 : 1))
  const all = [...sorted, ...le]
  if (all.length === 0) return ''
  return `{${all.map(([name, value]) => `${name}="${escapeLabel(value)}"`).join(',')}}`
}

const escapeLabel = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')

/** `0.000001` and `146800647`, never `1e-6`: what readers of `.stats` parse. */
function plainDecimal(value: number): string {
  const text = String(value)
  if (!text.includes('e')) return text
  return Math.abs(value) >= 1
    ? BigInt(Math.round(value)).toString()
    : value.toFixed(20).replace(/0+$/, '').replace(/\.$/, '')
}
