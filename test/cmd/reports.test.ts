/** What `bench` and `info` print, byte for byte, and the client's side of `.control`. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { shapeOf } from '../../src/cmd/bench.ts'
import { juiceRows, renderReport, type Sample } from '../../src/cmd/bench-report.ts'
import { parseReply } from '../../src/cmd/control-client.ts'
import { type Info, parseInfo, renderInfo } from '../../src/cmd/info.ts'
import { barLine } from '../../src/cmd/progress.ts'
import { parseStats } from '../../src/cmd/running-mount.ts'
import { renderCsv, renderSummary, type SummaryNode } from '../../src/cmd/summary.ts'

const MIB = 2 ** 20
const sample: Sample = {
  blockBytes: MIB,
  bigBytes: 64 * MIB,
  smallBytes: 128 << 10,
  smallCount: 20,
  threads: 2,
  big: { ioBytes: MIB, ios: 64 },
  timings: { writeBig: 0.2031, readBig: 0.2208, writeSmall: 0.1382, readSmall: 0.023, stat: 0.0046 },
}

describe('the report of bench', () => {
  it('rounds a big file up to whole calls', () => {
    assert.deepEqual(shapeOf(10, 4), { ioBytes: 4, ios: 3 })
    assert.deepEqual(shapeOf(4, 4), { ioBytes: 4, ios: 1 })
    assert.deepEqual(shapeOf(3, 4), { ioBytes: 3, ios: 1 })
  })
  it('has the lines of the reference', () => {
    assert.equal(
      renderReport(sample, null, false),
      `Benchmark finished!
BlockSize: 1.0 MiB, BigFileSize: 64 MiB, SmallFileSize: 128 KiB, SmallFileCount: 20, NumThreads: 2
+------------------+----------------+--------------+
|       ITEM       |      VALUE     |     COST     |
+------------------+----------------+--------------+
|   Write big file |   630.23 MiB/s |  0.20 s/file |
|    Read big file |   579.71 MiB/s |  0.22 s/file |
| Write small file |  289.4 files/s | 6.91 ms/file |
|  Read small file | 1739.1 files/s | 1.15 ms/file |
|        Stat file | 8695.7 files/s | 0.23 ms/file |
+------------------+----------------+--------------+
`,
    )
  })
  it('leaves out what was not run', () => {
    const report = renderReport({ ...sample, timings: { writeBig: 1, readBig: 1 } }, null, false)
    assert.ok(!report.includes('small file') && report.includes('Write big file'))
  })
  it('adds what a mount did meanwhile, from the difference of its statistics', () => {
    const before = parseStats(
      'juicefs_uptime 10\njuicefs_cpu_usage 1\njuicefs_fuse_ops_durations_histogram_seconds_total 100\njuicefs_fuse_ops_durations_histogram_seconds_sum 1\n',
    )
    const after = parseStats(
      'juicefs_uptime 12\njuicefs_cpu_usage 2\njuicefs_memory 104857600\njuicefs_fuse_ops_durations_histogram_seconds_total 300\njuicefs_fuse_ops_durations_histogram_seconds_sum 1.1\n',
    )
    const report = renderReport(sample, juiceRows({ before, after }), false)
    assert.match(report, /\nTime used: 2\.0 s, CPU: 50\.0%, Memory: 100\.0 MiB\n/)
    assert.match(report, /\| {3}FUSE operation \| 200 operations \| {3}0\.50 ms\/op \|/)
    assert.match(report, /\| {4}Delete object \| +0 operations \| +0\.00 ms\/op \|/)
  })
  it('colours the number alone, by its limits', () => {
    const report = renderReport(sample, null, true)
    assert.ok(report.includes('\x1b[1;32m630.23\x1b[0m MiB/s'))
    assert.ok(report.includes('\x1b[1;32m0.20\x1b[0m s/file'))
  })
  it('draws bars of 64 columns', () => {
    const bar = barLine({ name: 'Write big blocks', current: 32, total: 64, elapsedMs: 2000, isDone: false })
    assert.match(bar, /^Write big blocks: 32\/64 \[[=>-]{62}\] {2}16\.0\/s ETA: 2s$/)
    assert.match(barLine({ name: 'x', current: 4, total: 4, elapsedMs: 2000, isDone: true }), /\[={62}\].*used: 2s$/)
  })
})

describe('statistics', () => {
  it('of equal names are summed', () => assert.equal(parseStats('a 1\na 2\nb 3\n').get('a'), 3))
})

describe('info', () => {
  const info: Info = parseInfo(
    `{"Ino":5,"Failed":false,"Reason":"","Summary":{"Length":6,"Size":4096,"Files":1,"Dirs":0},"Paths":["/d/f2","/d/hl"],"Chunks":null,
      "Objects":[{"ChunkIndex":0,"Key":"","Size":0,"Off":0,"Len":100},{"ChunkIndex":0,"Key":"vol/chunks/0/0/1_0_6","Size":6,"Off":0,"Len":6},
                 {"ChunkIndex":1,"Key":"vol/chunks/0/0/2_0_9","Size":9,"Off":2,"Len":7}],
      "FLocks":[{"Sid":1,"Owner":16045690984833335023,"Type":"W"}],"PLocks":[],"Tier":{"ID":0,"StorageClass":"","Tag":""},"RestoreStatus":""}`,
  )
  it('prints a file as the reference does, and numbers with all their digits', () => {
    assert.equal(
      renderInfo('mnt/d/f2', info, false),
      `mnt/d/f2 :
  inode: 5
  files: 1
   dirs: 0
 length: 6 Bytes
   size: 4.00 KiB (4096 Bytes)
  paths:
\t/d/f2
\t/d/hl
   tier: 0-> 
 objects:
+------------+----------------------+------+--------+--------+-----+
| chunkIndex |      objectName      | size | offset | length | pos |
+------------+----------------------+------+--------+--------+-----+
|          0 |                      |    0 |      0 |    100 |   0 |
|          0 | vol/chunks/0/0/1_0_6 |    6 |      0 |      6 | 100 |
|          1 | vol/chunks/0/0/2_0_9 |    9 |      2 |      7 |   0 |
+------------+----------------------+------+--------+--------+-----+
 flocks:
+-----+----------------------+------+
| Sid |         Owner        | Type |
+-----+----------------------+------+
|   1 | 16045690984833335023 |    W |
+-----+----------------------+------+
`,
    )
  })
  it('says where no path is known', () =>
    assert.match(renderInfo('x', { ...info, Paths: [] }, false), /\n {3}path: unknown\n/))
})

describe('summary', () => {
  const tree = JSON.parse(
    `{"Inode":1,"Path":"","Type":2,"Size":9449472,"Files":3,"Dirs":2,"Children":[
      {"Inode":2,"Path":"d","Type":2,"Size":9441280,"Files":1,"Dirs":1,"Children":[
        {"Inode":4,"Path":"d/big, \\"old\\"","Type":1,"Size":9437184,"Files":1,"Dirs":0}]},
      {"Inode":0,"Path":"...","Type":1,"Size":8192,"Files":2,"Dirs":0}]}`,
  ) as SummaryNode
  it('is a table of paths, directories with a slash at the end', () => {
    assert.equal(
      renderSummary(tree),
      `+--------------+---------+------+-------+
|     PATH     |   SIZE  | DIRS | FILES |
+--------------+---------+------+-------+
| /            | 9.0 MiB |    2 |     3 |
| d/           | 9.0 MiB |    1 |     1 |
| d/big, "old" | 9.0 MiB |    0 |     1 |
| ...          | 8.0 KiB |    0 |     2 |
+--------------+---------+------+-------+
`,
    )
  })
  it('has plain bytes as CSV, and quotes what would split a row', () => {
    assert.equal(
      renderCsv(tree),
      'PATH,SIZE,DIRS,FILES\n/,9449472,2,3\nd/,9441280,1,1\n"d/big, ""old""",9437184,0,1\n...,8192,0,2\n',
    )
  })
})

describe('replies of .control', () => {
  const progress = Buffer.alloc(17)
  progress[0] = 0xfe
  progress.writeUInt16BE(258, 7)
  progress[16] = 7
  const data = Buffer.concat([Buffer.from([0xff, 0, 0, 0, 2]), Buffer.from('{}')])

  it('are told apart, and incomplete ones waited for', () => {
    assert.deepEqual(parseReply(Buffer.concat([progress, data])), { kind: 'progress', bytes: 17, a: 258, b: 7 })
    assert.deepEqual(parseReply(data), { kind: 'data', json: '{}' })
    assert.deepEqual(parseReply(Buffer.from([22])), { kind: 'errno', errno: 22 })
    for (const part of [Buffer.alloc(0), progress.subarray(0, 16), data.subarray(0, 4), data.subarray(0, 6)]) {
      assert.equal(parseReply(part), null)
    }
  })
})
