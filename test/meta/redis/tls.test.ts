/** `rediss://`: whom it trusts, what it shows of itself, and how soon it says what is wrong. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { RedisEngine } from '../../../src/meta/engine/redis/engine.ts'
import { node } from '../../../src/meta/facts.ts'
import { directory } from '../../conformance/engine/harness.ts'
import { cli } from '../../mount/harness.ts'
import { type Certificates, certificatesSkip, makeCertificates, type Pair } from '../../servers/certificates.ts'
import { freePort } from '../../servers/programs.ts'
import { RedisServer, redisSkip } from '../../servers/redis.ts'
import { inoOf, read, refusesToOpen, write } from './harness.ts'

let lastIno = 100
/** A volume takes a change, and has it. */
async function takesAChange(engine: RedisEngine): Promise<void> {
  const ino = inoOf(++lastIno)
  await write(engine, { kind: 'putNode', ino, attr: directory() })
  assert.ok(await read(engine, node(ino)))
}

interface Encrypted {
  readonly server: RedisServer
  readonly port: number
}

describe('Redis with encryption', { skip: redisSkip || certificatesSkip }, () => {
  let dir: string
  let certificates: Certificates
  /** shows its own certificate; `one` demands one of its clients, `lax` does not */
  let one: Encrypted
  let lax: Encrypted
  let elsewhere: Encrypted
  const start = async ({ certificate, key }: Pair, ...args: string[]): Promise<Encrypted> => {
    const port = await freePort()
    const files = ['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificates.authority]
    return { server: await RedisServer.start({ args: ['--tls-port', String(port), ...files, ...args] }), port }
  }
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-tls-'))
    certificates = makeCertificates(dir)
    one = await start(certificates.server)
    lax = await start(certificates.server, '--tls-auth-clients', 'no', '--requirepass', 'secret')
    elsewhere = await start(certificates.elsewhere, '--tls-auth-clients', 'no')
  })
  after(async () => {
    for (const each of [one, lax, elsewhere]) await each?.server.remove()
    if (dir) rmSync(dir, { recursive: true, force: true })
  })

  const ours = (): string => `tls-cert-file=${certificates.client.certificate}&tls-key-file=${certificates.client.key}`
  const trusts = (file: string): string => `tls-ca-cert-file=${file}`
  async function works(url: string): Promise<void> {
    const engine = await RedisEngine.open(url, { env: {} })
    try {
      await takesAChange(engine)
    } finally {
      engine.close()
    }
  }
  const refuses = (url: string, message: RegExp): Promise<void> =>
    refusesToOpen(RedisEngine.open(url, { env: {} }), message)

  it('trusts a server of the given authority, by address and by name, and shows its own certificate where one is demanded', async () => {
    await works(`rediss://127.0.0.1:${one.port}/1?${trusts(certificates.authority)}&${ours()}`)
    await works(`rediss://localhost:${one.port}/1?tls_ca_cert_file=${certificates.authority}&${ours()}`)
    await works(`rediss://:secret@127.0.0.1:${lax.port}/1?${trusts(certificates.authority)}`)
    assert.match(one.server.cli('-n', '1', 'EXISTS', `i${lastIno - 1}`), /1/)
  })

  it('takes a volume', () => {
    const url = `rediss://127.0.0.1:${one.port}/2?${trusts(certificates.authority)}&${ours()}`
    const made = cli(['format', '--bucket', join(dir, 'bucket'), url, 'encrypted'])
    assert.equal(made.status, 0, made.stderr)
    assert.match(cli(['status', url]).stdout, /"Name": "encrypted"/)
  })

  it('says that the authority is unknown, that the name is another, that a certificate of ours is wanted', async () => {
    await refuses(
      `rediss://:secret@127.0.0.1:${lax.port}/1?${trusts(certificates.stranger)}`,
      new RegExp(`connect to Redis at 127.0.0.1:${lax.port}: .*(unable to verify|self-signed|issuer)`),
    )
    await refuses(`rediss://:secret@127.0.0.1:${lax.port}/1`, /unable to verify|self-signed|issuer/)
    await refuses(
      `rediss://127.0.0.1:${elsewhere.port}/1?${trusts(certificates.authority)}`,
      /127\.0\.0\.1:\d+: Hostname\/IP does not match certificate's altnames/,
    )
    await refuses(
      `rediss://127.0.0.1:${one.port}/1?${trusts(certificates.authority)}`,
      /127\.0\.0\.1:\d+: .*certificate required/,
    )
  })

  it('goes by another name where tls-server-name gives one, and checks nothing with insecure-skip-verify', async () => {
    const address = `rediss://127.0.0.1:${elsewhere.port}/1`
    await works(`${address}?${trusts(certificates.authority)}&tls-server-name=db.example.com`)
    await refuses(`${address}?${trusts(certificates.authority)}&tls-server-name=other.example.com`, /does not match/)
    await works(`${address}?insecure-skip-verify=true`)
    await works(`${address}?insecure_skip_verify=1&${trusts(certificates.stranger)}`)
  })

  it('says within five seconds that a server speaks in the clear, or does not', async () => {
    await refuses(`rediss://127.0.0.1:${one.server.port}/1?insecure-skip-verify=true`, /TLS|SSL/)
    await refuses(`redis://127.0.0.1:${one.port}/1`, /connect to Redis at 127\.0\.0\.1:\d+: .*rediss:\/\//)
  })
})

describe('a cluster with encryption', { skip: redisSkip || certificatesSkip }, () => {
  it('is found and followed over encrypted connections', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-tls-'))
    const certificates = makeCertificates(dir)
    const port = await freePort()
    const { certificate, key } = certificates.server
    const server = await RedisServer.start({
      args: [
        ...['--cluster-enabled', 'yes', '--tls-cluster', 'yes', '--tls-port', String(port), '--tls-auth-clients', 'no'],
        ...['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificates.authority],
      ],
    })
    try {
      server.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
      const url = `rediss://127.0.0.1:${port}/7?tls-ca-cert-file=${certificates.authority}`
      const engine = await RedisEngine.open(url, { env: {} })
      await takesAChange(engine)
      engine.close()
      assert.equal(server.cli('EXISTS', `{7}i${lastIno}`), '1')
    } finally {
      await server.remove()
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
