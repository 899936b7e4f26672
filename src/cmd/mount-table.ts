/** What is mounted where, from /proc/self/mountinfo: reading it never asks the mount itself, which may hang or be dead. */

import { readFileSync } from 'node:fs'

export interface Mount {
  readonly mountPoint: string
  readonly type: string
  readonly source: string
  /** device number `major:minor`; the minor names /sys/fs/fuse/connections/<minor> */
  readonly device: string
}

export function readMounts(): Mount[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'latin1'))
}

/** `text`: one character a byte. `36 35 98:0 /root /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw`: optional fields end at the lone dash. */
export function parseMountInfo(text: string): Mount[] {
  const mounts: Mount[] = []
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ')
    if (left === undefined || right === undefined) continue
    const fields = left.split(' ')
    const [type = '', source = ''] = right.split(' ')
    mounts.push({
      mountPoint: unescapeOctal(fields[4] ?? ''),
      type,
      source: unescapeOctal(source),
      device: fields[2] ?? '',
    })
  }
  return mounts
}

/** The topmost mount on exactly this path. */
export const mountAt = (path: string): Mount | undefined => readMounts().findLast(mount => mount.mountPoint === path)

/** Blanks and the like stand as octal: `\040`. */
const unescapeOctal = (field: string): string =>
  Buffer.from(
    field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    'latin1',
  ).toString('utf8')
