/** What goes wrong between us and a store: answers that are refusals, answers that are not what was asked for, no answers. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { SystemClock } from '../../../src/base/clock.ts'
import { EIO, ENOSPC } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { checksumOf } from '../../../src/object/checksum.ts'
import { openS3 } from '../../../src/object/s3/open.ts'
import { ObjectMissing, type ObjectStore, Refused, Unreachable } from '../../../src/object/store.ts'
import { errorXml, type Received, type ScriptedServer, startScripted } from '../../servers/scripted.ts'

const SECRET = 'very-secret-key'
const KEY = 'chunks/0/0/1_0_4'

type Answer = (received: Received, response: ServerResponse) => void

async function withStore(
  answer: Answer,
  body: (store: ObjectStore, server: ScriptedServer) => Promise<void>,
  options: {
    query?: string
    silenceMs?: number
    totalMs?: number
    first?: (r: IncomingMessage, s: ServerResponse) => boolean
  } = {},
): Promise<void> {
  const server = await startScripted(answer, options.first)
  const setting = {
    bucket: `http://127.0.0.1:${server.port}/b${options.query ?? ''}`,
    accessKey: 'AK',
    secretKey: SECRET,
  }
  const times = { connectMs: 1000, silenceMs: options.silenceMs ?? 5000, totalMs: options.totalMs ?? 60_000 }
  const store = openS3('s3', setting, { env: {}, clock: new SystemClock(), times })
  try {
    await body(store, server)
  } finally {
    await store.close()
    await server.close()
  }
}

const refuse =
  (status: number, code: string, message = '', more = ''): Answer =>
  (_, response) =>
    void response.writeHead(status, { 'content-type': 'application/xml' }).end(errorXml(code, message, more))

const regionOf = ({ headers }: Received): string =>
  /\/(\w[\w-]*)\/s3\/aws4_request/.exec(headers.authorization ?? '')![1]!

async function failure(promise: Promise<unknown>): Promise<Fault> {
  const error = await promise.then(
    () => assert.fail('did not fail'),
    caught => caught,
  )
  assert.ok(error instanceof Fault, String(error))
  return error
}

describe('refusals of an S3 server', () => {
  it('a failing server is a fault with request, key, code, status and request id', async () => {
    await withStore(refuse(503, 'SlowDown', 'Please reduce your request rate.'), async store => {
      const error = await failure(store.put(KEY, Buffer.from('x')))
      assert.equal(
        error.message,
        `put object ${KEY}: SlowDown: Please reduce your request rate. (status 503, request REQ-1)`,
      )
      assert.equal(error.errno, EIO)
      assert.ok(!(error instanceof Refused))
    })
  })

  it('an answer that is no XML, as proxies give it, is a fault with its status', async () => {
    await withStore(
      (_, response) => void response.writeHead(502).end('<html>Bad Gateway</html>'),
      async store =>
        assert.match((await failure(store.get(KEY))).message, /^get object .*: BadGateway \(status 502\)$/),
    )
  })

  it('a full store says ENOSPC', async () => {
    await withStore(refuse(507, 'XMinioStorageFull'), async store =>
      assert.equal((await failure(store.put(KEY, Buffer.from('x')))).errno, ENOSPC),
    )
  })

  it('wrong keys are a refusal, and no secret is told, even where the server echoes what was signed', async () => {
    const echo = `<StringToSign>AWS4-HMAC-SHA256 ${SECRET}</StringToSign><AWSAccessKeyId>AK</AWSAccessKeyId>`
    await withStore(refuse(403, 'SignatureDoesNotMatch', 'does not match', echo), async (store, server) => {
      const error = await failure(store.put(KEY, Buffer.from('x')))
      assert.ok(error instanceof Refused)
      let told = ''
      for (let at: unknown = error; at instanceof Error; at = at.cause) told += `${at.stack}${JSON.stringify(at)}`
      assert.ok(!told.includes(SECRET))
      assert.ok(!told.includes(/Signature=(\w+)/.exec(server.requests[0]!.headers.authorization!)![1]!))
    })
  })

  it('a missing object is ObjectMissing, a missing bucket is not', async () => {
    await withStore(refuse(404, 'NoSuchKey'), async store => {
      await assert.rejects(store.get(KEY), ObjectMissing)
      await store.delete(KEY)
      assert.equal(await store.head(KEY), null)
    })
    await withStore(refuse(404, 'NoSuchBucket'), async store => {
      for (const call of [store.get(KEY), store.delete(KEY), store.put(KEY, Buffer.from('x'))]) {
        const error = await failure(call)
        assert.ok(!(error instanceof ObjectMissing))
        assert.match(error.message, /NoSuchBucket/)
      }
    })
  })

  it('a refusal that comes while the body is still being sent is told as such', async () => {
    const first = (_: IncomingMessage, response: ServerResponse): boolean => {
      response.writeHead(403, { connection: 'close' }).end(errorXml('AccessDenied', 'no'))
      return true
    }
    await withStore(
      () => {},
      async store => {
        const error = await failure(store.put(KEY, Buffer.alloc(4 << 20)))
        assert.ok(error instanceof Refused || /EPIPE|ECONNRESET/.test(error.message), error.message)
      },
      { first },
    )
  })
})

describe('the checksum that goes with a put', () => {
  const body = Buffer.from('123456789')
  const header = 'x-amz-checksum-crc32c'
  const checksums = ({ requests }: ScriptedServer): unknown[] => requests.map(({ headers }) => headers[header])
  // the check value of CRC-32C, 0xE3069283
  const right = '4waSgw=='

  it('is that of the body, signed', async () => {
    await withStore(
      (_, response) => void response.end(),
      async (store, server) => {
        await store.put(KEY, body)
        assert.deepEqual(checksums(server), [right])
        assert.match(server.requests[0]!.headers.authorization!, /SignedHeaders=[^,]*x-amz-checksum-crc32c/)
      },
    )
  })

  it('is left out where the volume has no checksums', async () => {
    await withStore(
      (_, response) => void response.end(),
      async (store, server) => {
        await store.put(KEY, body)
        assert.deepEqual(checksums(server), [undefined])
      },
      { query: '?disable-checksum=true' },
    )
  })

  it('is left out from then on where the server does not understand it', async () => {
    for (const [status, code, message] of [
      [501, 'NotImplemented', 'A header you provided implies functionality that is not implemented.'],
      [400, 'InvalidArgument', "Unsupported header 'x-amz-checksum-crc32c' received for this API call."],
    ] as const) {
      await withStore(
        (received, response) => {
          if (received.headers[header]) refuse(status, code, message)(received, response)
          else response.end()
        },
        async (store, server) => {
          await store.put(KEY, body)
          await store.put(KEY, body)
          assert.deepEqual(checksums(server), [right, undefined, undefined])
        },
      )
    }
  })

  it('is left out where the server hangs up on it before the body has come', async () => {
    const first = (request: IncomingMessage): boolean => {
      if (!request.headers[header]) return false
      request.socket.resetAndDestroy()
      return true
    }
    await withStore(
      (_, response) => void response.end(),
      async (store, server) => {
        await store.put(KEY, Buffer.alloc(4 << 20))
        assert.deepEqual(checksums(server), [undefined])
      },
      { first },
    )
  })

  it('stays where the server finds other bytes, which is a fault', async () => {
    const other = refuse(400, 'BadDigest', 'The CRC32C you specified did not match the calculated checksum.')
    await withStore(other, async (store, server) => {
      for (let i = 0; i < 2; i++) assert.match((await failure(store.put(KEY, body))).message, /BadDigest/)
      assert.deepEqual(checksums(server), [right, right])
    })
  })

  it('stays where a server that has taken it loses a connection', async () => {
    let cuts = false
    const first = (request: IncomingMessage): boolean => {
      if (cuts) request.socket.resetAndDestroy()
      return cuts
    }
    await withStore(
      (_, response) => void response.end(),
      async (store, server) => {
        await store.put(KEY, body)
        cuts = true
        await failure(store.put(KEY, body))
        cuts = false
        await store.put(KEY, body)
        assert.deepEqual(checksums(server), [right, right])
      },
      { first },
    )
  })
})

describe('what an S3 server can correct', () => {
  const right = { 'x-amz-bucket-region': 'eu-west-9' }
  it('a bucket in another region is asked for there, from then on', async () => {
    await withStore(
      (received, response) => {
        if (regionOf(received) === 'eu-west-9') response.end('data')
        else response.writeHead(301, right).end(errorXml('PermanentRedirect'))
      },
      async (store, server) => {
        assert.equal((await store.get(KEY)).toString(), 'data')
        assert.equal((await store.get(KEY)).toString(), 'data')
        assert.deepEqual(server.requests.map(regionOf), ['us-east-1', 'eu-west-9', 'eu-west-9'])
      },
    )
  })

  it('so is one whose region stands in the error only', async () => {
    await withStore(
      (received, response) => {
        if (regionOf(received) === 'mars-1') response.end('data')
        else refuse(400, 'AuthorizationHeaderMalformed', '', '<Region>mars-1</Region>')(received, response)
      },
      async store => assert.equal((await store.get(KEY)).toString(), 'data'),
    )
  })

  it('regions that send each other around end in a fault', async () => {
    await withStore(
      (received, response) => {
        const other = regionOf(received) === 'a-1' ? 'b-1' : 'a-1'
        response.writeHead(307, { 'x-amz-bucket-region': other }).end(errorXml('TemporaryRedirect'))
      },
      async (store, server) => {
        await failure(store.get(KEY))
        assert.equal(server.requests.length, 3)
      },
    )
  })

  it('a clock that is wrong is set by the server’s', async () => {
    const theirs = Date.now() + 3_600_000
    await withStore(
      ({ headers }, response) => {
        const date = String(headers['x-amz-date'])
        const at = Date.parse(date.replace(/^(....)(..)(..T..)(..)/, '$1-$2-$3:$4:'))
        response.setHeader('date', new Date(theirs).toUTCString())
        if (Math.abs(at - theirs) < 60_000) response.end('data')
        else response.writeHead(403).end(errorXml('RequestTimeTooSkewed'))
      },
      async store => assert.equal((await store.get(KEY)).toString(), 'data'),
    )
  })

  it('bodies are signed for a server that insists', async () => {
    const hashes: string[] = []
    await withStore(
      ({ headers, body }, response) => {
        const stated = String(headers['x-amz-content-sha256'])
        hashes.push(stated)
        if (stated === createHash('sha256').update(body).digest('hex')) response.end()
        else refuse(400, 'InvalidRequest', 'UNSIGNED-PAYLOAD is not supported')({} as Received, response)
      },
      async store => {
        await store.put(KEY, Buffer.from('x'))
        await store.put(KEY, Buffer.from('y'))
        assert.deepEqual(
          hashes.map(hash => hash.length),
          [16, 64, 64],
        )
      },
    )
  })

  it('a request on a connection that the server had given up is sent once more', async () => {
    await withStore(
      ({ earlier }, response) => (earlier === 0 ? response.end('data') : response.destroy()),
      async (store, server) => {
        for (let i = 0; i < 3; i++) assert.equal((await store.get(KEY)).toString(), 'data')
        assert.equal(server.requests.length, 5)
      },
    )
  })

  it('but not again and again', async () => {
    await withStore(
      (_, response) => void response.destroy(),
      async (store, server) => {
        await failure(store.put(KEY, Buffer.from('x')))
        assert.equal(server.requests.length, 1)
      },
    )
  })
})

describe('answers that are not what was asked for', () => {
  it('a body that ends early is a fault', async () => {
    const cut: Answer = (_, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write(Buffer.alloc(400), () => response.destroy())
    }
    await withStore(cut, async store => {
      assert.match(
        (await failure(store.get(KEY))).message,
        /^get object .*: the answer was cut after 400 of 1000 bytes/,
      )
    })
  })

  it('so is a body without a stated length that ends early', async () => {
    const cut: Answer = (_, response) => {
      response.writeHead(200)
      response.write(Buffer.alloc(400), () => response.destroy())
    }
    await withStore(cut, async store => assert.match((await failure(store.get(KEY))).message, /cut after 400 bytes/))
  })

  it('a body longer than stated is a fault', async () => {
    const long: Answer = (_, response) => {
      response.socket!.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n0123456789')
    }
    await withStore(long, async store =>
      assert.match((await failure(store.get(KEY))).message, /^get object .*: the answer goes on after its 4 bytes/),
    )
  })

  it('a body of unknown length is read to its end', async () => {
    const chunked: Answer = (_, response) => {
      response.write('some ')
      response.end('data')
    }
    await withStore(chunked, async store => assert.equal((await store.get(KEY)).toString(), 'some data'))
  })

  it('another range than the one that was asked for is a fault, and so is a short one', async () => {
    for (const [range, body] of [
      ['bytes 5-8/100', 'abcd'],
      ['bytes 4-7/100', 'abc'],
      ['nonsense', 'abcd'],
    ] as const) {
      await withStore(
        (_, response) => void response.writeHead(206, { 'content-range': range }).end(body),
        async store =>
          assert.match((await failure(store.get(KEY, { offset: 4, length: 4 }))).message, /asked for 4 bytes at 4/),
      )
    }
  })

  it('a server that ignores ranges is served by cutting', async () => {
    await withStore(
      (_, response) => void response.end('0123456789'),
      async store => assert.equal((await store.get(KEY, { offset: 4, length: 3 })).toString(), '456'),
    )
  })

  it('a whole object whose bytes are not those that were put is a fault, unless checksums are switched off', async () => {
    const wrong: Answer = (_, response) =>
      void response.writeHead(200, { 'x-amz-meta-crc32c': checksumOf(Buffer.from('before')) }).end('after!')
    await withStore(wrong, async store => assert.match((await failure(store.get(KEY))).message, /checksum/))
    await withStore(
      wrong,
      async (store, server) => {
        assert.equal((await store.get(KEY)).toString(), 'after!')
        await store.put(KEY, Buffer.from('x'))
        assert.equal(server.requests[1]!.headers['x-amz-meta-crc32c'], undefined)
      },
      { query: '?disable-checksum=true' },
    )
  })

  it('keys out of order are a fault', async () => {
    const page = `<ListBucketResult>${['b', 'a'].map(entry).join('')}</ListBucketResult>`
    await withStore(
      (_, response) => void response.end(page),
      async store => assert.match((await failure(store.list('', '', 10))).message, /out of order: a after b/),
    )
  })
})

const entry = (key: string): string =>
  `<Contents><Key>${key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>`

describe('listings of unusual servers', () => {
  const keys = ['a', 'b', 'c', 'd', 'e']
  const queryOf = ({ path }: Received): URLSearchParams => new URL(path, 'http://x').searchParams
  const listed = async (store: ObjectStore, marker: string, limit: number): Promise<string[]> =>
    (await store.list('', marker, limit)).map(({ key }) => key)

  it('one that knows only version 1 is asked by it', async () => {
    const answer: Answer = (received, response) => {
      const query = queryOf(received)
      const rest = keys.filter(key => key > (query.get('marker') ?? ''))
      const page = rest.slice(0, Number(query.get('max-keys')))
      const isTruncated = page.length < rest.length
      response.end(
        `<ListBucketResult><IsTruncated>${isTruncated}</IsTruncated>${page.map(entry).join('')}</ListBucketResult>`,
      )
    }
    await withStore(answer, async (store, server) => {
      assert.deepEqual(await listed(store, '', 2), ['a', 'b'])
      assert.deepEqual(await listed(store, 'b', 2), ['c', 'd'])
      assert.deepEqual(await listed(store, 'd', 2), ['e'])
      assert.equal(queryOf(server.requests.at(-1)!).get('list-type'), null)
    })
  })

  it('short and empty pages with more behind them are followed to the end', async () => {
    const pages: Record<string, [string[], string?]> = {
      '': [['a'], 't1'],
      t1: [[], 't2'],
      t2: [['b', 'c'], 't3'],
      t3: [['d']],
    }
    const answer: Answer = (received, response) => {
      const [page, next] = pages[queryOf(received).get('continuation-token') ?? '']!
      const token = next ? `<NextContinuationToken>${next}</NextContinuationToken>` : ''
      response.end(
        `<ListBucketResult><IsTruncated>${next !== undefined}</IsTruncated>${token}${page.map(entry).join('')}</ListBucketResult>`,
      )
    }
    await withStore(answer, async store => assert.deepEqual(await listed(store, '', 10), ['a', 'b', 'c', 'd']))
  })

  it('keys that XML or URLs cannot spell come back as they are', async () => {
    const strange = 'a &<>+ü%'
    const escaped = encodeURIComponent(strange)
    const page = `<ListBucketResult><EncodingType>url</EncodingType>${entry(escaped)}</ListBucketResult>`
    await withStore(
      (_, response) => void response.end(page),
      async store => assert.deepEqual(await listed(store, '', 10), [strange]),
    )
  })
})

describe('servers that do not answer', () => {
  it('silence is a fault', async () => {
    await withStore(
      () => {},
      async store => assert.match((await failure(store.get(KEY))).message, /is silent for 200 ms/),
      { silenceMs: 200 },
    )
  })

  it('silence in the middle of a body is a fault', async () => {
    const stall: Answer = (_, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write(Buffer.alloc(400))
    }
    await withStore(stall, async store => assert.match((await failure(store.get(KEY))).message, /silent|cut/), {
      silenceMs: 200,
    })
  })

  it('an answer that trickles without end is a fault too', async () => {
    const trickle: Answer = (_, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      const drop = setInterval(() => response.write('x'), 50)
      response.on('close', () => clearInterval(drop))
    }
    await withStore(
      trickle,
      async store => assert.match((await failure(store.get(KEY))).message, /not done within 500 ms/),
      {
        silenceMs: 200,
        totalMs: 500,
      },
    )
  })

  it('a server that is not there is told by its address', async () => {
    const server = await startScripted(() => {})
    await server.close()
    const bucket = `http://127.0.0.1:${server.port}/b`
    const store = openS3('s3', { bucket, accessKey: 'AK', secretKey: SECRET }, { env: {}, clock: new SystemClock() })
    const error = await failure(store.head(KEY))
    assert.match(error.message, /^head object .*: connect to http:\/\/127\.0\.0\.1:\d+: connect ECONNREFUSED/)
    assert.ok(error.cause instanceof Unreachable)
    await store.close()
  })
})
