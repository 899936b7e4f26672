/** Numbers for people (spec cli section 2, "Human sizes printed"). */

const IEC = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']

/** `512 MiB`, `1.0 GiB`, `0 B`: one decimal below ten, none from ten up. */
export function bytesText(bytes: number): string {
  if (bytes < 10) return `${bytes} B`
  const power = Math.min(IEC.length - 1, Math.floor(Math.log2(bytes) / 10))
  const value = Math.floor((bytes / 1024 ** power) * 10 + 0.5) / 10
  return `${value < 10 && power > 0 ? value.toFixed(1) : value.toFixed(0)} ${IEC[power]}`
}

/** `9.00 MiB (9437184 Bytes)`, `6 Bytes` below 1024: what `info` shows. */
export function bytesBothWays(bytes: number): string {
  if (bytes < 1024) return `${bytes} Bytes`
  const power = Math.min(IEC.length - 1, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** power).toFixed(2)} ${IEC[power]} (${bytes} Bytes)`
}

/** `100.0 Mbps`, `1.0 Gbps` */
export function mbpsText(mbps: number): string {
  let [value, power] = [mbps, 0]
  for (; value >= 1000 && power < 3; power++) value /= 1000
  return `${value.toFixed(1)} ${'MGTP'[power]}bps`
}

export const withCommas = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ',')

/** As Go prints a duration: `1h30m0s`, `1.5s`, `20ms`, `0s`. */
export function durationText(ms: number): string {
  if (ms === 0) return '0s'
  if (ms < 1) return `${trim(ms * 1000)}µs`
  if (ms < 1000) return `${trim(ms)}ms`
  const [h, m] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60]
  const s = `${trim((ms % 60_000) / 1000)}s`
  return h > 0 ? `${h}h${m}m${s}` : m > 0 ? `${m}m${s}` : s
}

const trim = (n: number): string => String(Number(n.toFixed(6)))
