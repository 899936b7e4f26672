/** The report of `bench`: numbers, limits of the colours and layout are those of the reference (spec bench sections 1.4, 1.5). */

import { bytesText } from './humanize.ts'
import { renderTable } from './table.ts'

/** How many calls of which size make a file; its size is rounded up to whole calls. */
export interface FileShape {
  readonly ioBytes: number
  readonly ios: number
}
/** seconds of each phase that was run */
export interface Timings {
  writeBig?: number
  readBig?: number
  writeSmall?: number
  readSmall?: number
  stat?: number
}
export interface Sample {
  readonly blockBytes: number
  readonly bigBytes: number
  readonly smallBytes: number
  readonly smallCount: number
  readonly threads: number
  readonly big: FileShape
  readonly timings: Timings
}
export interface JuiceStats {
  readonly before: ReadonlyMap<string, number>
  readonly after: ReadonlyMap<string, number>
}
interface Row {
  readonly item: string
  readonly value: number
  readonly valueDigits: number
  readonly valueUnit: string
  /** red up to the first, yellow up to the second, then green */
  readonly valueLimits: readonly [number, number]
  readonly cost: number
  readonly costUnit: string
  /** green below the first, yellow below the second, then red */
  readonly costLimits: readonly [number, number]
}
export interface JuiceReport {
  readonly seconds: number
  readonly cpuPercent: number
  readonly memoryMiB: number
  readonly rows: readonly Row[]
}

const [RED, GREEN, YELLOW] = [31, 32, 33]

const JUICE_ITEMS: readonly (readonly [item: string, metric: string, costLimits: readonly [number, number]])[] = [
  ['FUSE operation', 'fuse_ops_durations_histogram_seconds', [0.5, 2]],
  ['Update meta', 'transaction_durations_histogram_seconds', [2, 5]],
  ['Put object', 'object_request_durations_histogram_seconds_PUT', [100, 200]],
  ['Get object', 'object_request_durations_histogram_seconds_GET', [100, 200]],
  ['Delete object', 'object_request_durations_histogram_seconds_DELETE', [30, 100]],
  ['Write into cache', 'blockcache_write_hist_seconds', [10, 20]],
  ['Read from cache', 'blockcache_read_hist_seconds', [1, 5]],
]

/** What a JuiceFS mount did meanwhile, by the difference of its `.stats`. */
export function juiceRows({ before, after }: JuiceStats): JuiceReport {
  const difference = (name: string): number =>
    (after.get(`juicefs_${name}`) ?? 0) - (before.get(`juicefs_${name}`) ?? 0)
  const seconds = difference('uptime')
  const rows = JUICE_ITEMS.map(([item, metric, costLimits]) => {
    const count = difference(`${metric}_total`)
    const cost = count > 0 ? (difference(`${metric}_sum`) * 1000) / count : 0
    return {
      item,
      value: count,
      valueDigits: 0,
      valueUnit: 'operations',
      valueLimits: [0, 0] as const,
      cost,
      costUnit: 'ms/op',
      costLimits,
    }
  })
  const cpuPercent = seconds > 0 ? (difference('cpu_usage') * 100) / seconds : 0
  return { seconds, cpuPercent, memoryMiB: (after.get('juicefs_memory') ?? 0) / 2 ** 20, rows }
}

export function renderReport(sample: Sample, juice: JuiceReport | null, colour: boolean): string {
  const paint = (number: string, code: number): string => (colour ? `\x1b[1;${code}m${number}\x1b[0m` : number)
  const rows = [...fileRows(sample), ...(juice?.rows ?? [])].map(row => {
    const valueColour = row.value > row.valueLimits[1] ? GREEN : row.value > row.valueLimits[0] ? YELLOW : RED
    const costColour = row.cost < row.costLimits[0] ? GREEN : row.cost < row.costLimits[1] ? YELLOW : RED
    return [
      row.item,
      `${paint(row.value.toFixed(row.valueDigits), valueColour)} ${row.valueUnit}`,
      `${paint(row.cost.toFixed(2), costColour)} ${row.costUnit}`,
    ]
  })
  const sizes = [
    `BlockSize: ${bytesText(sample.blockBytes)}`,
    `BigFileSize: ${bytesText(sample.bigBytes)}`,
    `SmallFileSize: ${bytesText(sample.smallBytes)}`,
    `SmallFileCount: ${sample.smallCount}`,
    `NumThreads: ${sample.threads}`,
  ]
  let text = `Benchmark finished!\n${sizes.join(', ')}\n`
  if (juice) {
    const [time, cpu, memory] = [juice.seconds, juice.cpuPercent, juice.memoryMiB].map(n => paint(n.toFixed(1), GREEN))
    text += `Time used: ${time} s, CPU: ${cpu}%, Memory: ${memory} MiB\n`
  }
  return text + renderTable([['ITEM', 'VALUE', 'COST'], ...rows])
}

function fileRows({ big, smallCount, threads, timings }: Sample): Row[] {
  const rows: Row[] = []
  const bigMiB = (big.ioBytes * big.ios) / 2 ** 20
  const bigRow = (item: string, seconds: number | undefined): void => {
    if (seconds === undefined) return
    const value = (bigMiB * threads) / seconds
    rows.push({
      item,
      value,
      valueDigits: 2,
      valueUnit: 'MiB/s',
      valueLimits: [100, 200],
      cost: seconds,
      costUnit: 's/file',
      costLimits: [10, 50],
    })
  }
  const smallRow = (
    item: string,
    seconds: number | undefined,
    perThread: readonly [number, number],
    costLimits: readonly [number, number],
  ): void => {
    if (seconds === undefined) return
    const value = (smallCount * threads) / seconds
    const valueLimits = [perThread[0] * threads, perThread[1] * threads] as const
    rows.push({
      item,
      value,
      valueDigits: 1,
      valueUnit: 'files/s',
      valueLimits,
      cost: (seconds * 1000) / smallCount,
      costUnit: 'ms/file',
      costLimits,
    })
  }
  bigRow('Write big file', timings.writeBig)
  bigRow('Read big file', timings.readBig)
  smallRow('Write small file', timings.writeSmall, [12.5, 20], [50, 80])
  smallRow('Read small file', timings.readSmall, [50, 100], [10, 20])
  smallRow('Stat file', timings.stat, [20, 1000], [1, 5])
  return rows
}
