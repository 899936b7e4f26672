import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  checkCompatible,
  compareVersions,
  type Format,
  parseFormat,
  parseVersion,
  secretsRemoved,
  serializeFormat,
  showFormat,
  tierZero,
  unsupportedFeatures,
  withTierZero,
} from '../../../src/meta/model/format.ts'
import { decryptSecrets, encryptSecrets } from '../../../src/meta/model/secrets.ts'

/** as the reference stores it (spec meta-setting) */
const STORED = `{
"Name": "volr",
"UUID": "0ddcfbd2-2ff6-4eba-bc66-7e7b027cc049",
"Storage": "file",
"Tiers": {
"0": {
"ID": 0,
"StorageClass": "",
"Tag": ""
}
},
"Bucket": "/data/objs/",
"BlockSize": 4096,
"Compression": "none",
"EncryptAlgo": "aes256gcm-rsa",
"TrashDays": 1,
"MetaVersion": 1,
"MinClientVersion": "1.2.0-A",
"DirStats": true,
"UserGroupQuota": true,
"EnableACL": true
}`

const plain: Format = parseFormat(STORED)
const fixedNonce = (): Buffer => Buffer.from('e28b366de6a1893ebe717e32', 'hex')

describe('the stored setting', () => {
  it('is written byte for byte as the reference writes it', () => {
    assert.equal(serializeFormat(parseFormat(STORED)), STORED)
  })
  it('is shown with two blanks of indent', () => {
    assert.match(showFormat(plain), /^\{\n {2}"Name": "volr",\n/)
  })
  it('keeps keys that nobody here knows, behind the others', () => {
    const text = STORED.replace('"Name"', '"Novelty": {\n"Deep": [1, 2]\n},\n"Name"')
    const written = serializeFormat(parseFormat(text))
    assert.deepEqual(JSON.parse(written).Novelty, { Deep: [1, 2] })
    assert.ok(written.indexOf('Novelty') > written.indexOf('EnableACL'))
  })
  it('leaves out empty optional fields, and keeps those that are always there', () => {
    const text = serializeFormat({
      ...plain,
      Capacity: 0,
      AccessKey: '',
      HashPrefix: false,
      TrashDays: 0,
      EnableACL: false,
    })
    for (const absent of ['Capacity', 'AccessKey', 'HashPrefix']) assert.ok(!text.includes(absent), absent)
    for (const present of ['"TrashDays": 0', '"EnableACL": false']) assert.ok(text.includes(present), present)
  })
  it('escapes what the reference escapes', () => {
    const text = serializeFormat({ ...plain, Bucket: 'a<b>&c' })
    assert.ok(text.includes('"a\\u003cb\\u003e\\u0026c"'))
    assert.equal(parseFormat(text).Bucket, 'a<b>&c')
  })
  for (const [what, text] of [
    ['broken JSON', '{"Name": broken'],
    ['no object', '[]'],
    ['no name', '{"UUID": "x", "BlockSize": 4096}'],
    ['a block size of nothing', '{"Name": "v", "UUID": "x", "BlockSize": 0}'],
  ] as const) {
    it(`is refused where it is ${what}`, () =>
      assert.throws(() => parseFormat(text), /setting of the volume is damaged/))
  }
})

describe('secrets', () => {
  const uuid = '48c630db-e1fa-48d6-8bc3-e1f629a9c568'
  const sealed = '4os2beahiT6+cX4yEr7lEj4bwBZOtLUsbBNiw8RCnQkk15LBPfLkXA=='

  it('of the reference are decrypted', () => {
    const format = { ...plain, UUID: uuid, SecretKey: sealed, KeyEncrypted: true }
    assert.equal(decryptSecrets(format).SecretKey, 'SECRETKEY123')
  })
  it('are encrypted as the reference does', () => {
    const format = encryptSecrets({ ...plain, UUID: uuid, SecretKey: 'SECRETKEY123' }, fixedNonce)
    assert.equal(format.SecretKey, sealed)
    assert.equal(format.KeyEncrypted, true)
  })
  it('that are not there leave the setting as it is', () => {
    assert.deepEqual(encryptSecrets(plain, fixedNonce), plain)
  })
  it('that were removed or damaged say so', () => {
    const format = (SecretKey: string): Format => ({ ...plain, UUID: uuid, SecretKey, KeyEncrypted: true })
    assert.throws(() => decryptSecrets(format('removed')), /secret was removed/)
    assert.throws(() => decryptSecrets(format(`A${sealed.slice(1)}`)), /SecretKey .* cannot be decrypted/)
  })
  it('are never shown', () => {
    const shown = showFormat(
      secretsRemoved({ ...plain, AccessKey: 'id', SecretKey: 'x', SessionToken: 'y', EncryptKey: 'z' }),
    )
    assert.ok(!/"[xyz]"/.test(shown))
    assert.equal(shown.match(/"removed"/g)?.length, 3)
    assert.ok(shown.includes('"AccessKey": "id"'))
  })
})

describe('versions', () => {
  it('compare by numbers, then a pre-release comes before its release', () => {
    const sorted = ['1.1.0-A', '1.1.0-B', '1.1.0', '1.2', '1.2.1', '1.10.0', '2']
    const shuffled = [...sorted].reverse()
    shuffled.sort((a, b) => compareVersions(parseVersion(a), parseVersion(b)))
    assert.deepEqual(shuffled, sorted)
  })
  it('ignore the build', () => {
    assert.equal(compareVersions(parseVersion('1.4.1+juicefs-ts.0.1.0'), parseVersion('1.4.1')), 0)
  })
  it('of another form are refused', () => assert.throws(() => parseVersion('abc'), /Invalid version string: abc/))

  it('keep a client out that is too old or too new', () => {
    assert.throws(
      () => checkCompatible({ ...plain, MinClientVersion: '1.5.0' }, '1.4.1'),
      /allowed minimum version: 1.5.0/,
    )
    assert.throws(
      () => checkCompatible({ ...plain, MaxClientVersion: '1.3.9' }, '1.4.1'),
      /allowed maximum version: 1.3.9/,
    )
    assert.throws(() => checkCompatible({ ...plain, MetaVersion: 2 }, '1.4.1'), /upgrade the client/)
    checkCompatible(plain, '1.4.1+juicefs-ts.0.1.0')
  })
})

describe('features that are not built', () => {
  it('are named', () => {
    const demanding = {
      ...plain,
      EncryptKey: 'k',
      EncryptAlgo: 'sm4gcm',
      ChangeLog: true,
      KerbConf: 'c',
      RangerService: 'r',
      Novelty: true,
    }
    const names = unsupportedFeatures(demanding, false).join(' ')
    for (const part of ['sm4gcm', 'ChangeLog', 'Kerberos', 'Ranger', 'Novelty']) assert.ok(names.includes(part), part)
  })
  it('that concern changes only do not keep a reader out', () => {
    assert.deepEqual(unsupportedFeatures({ ...plain, ChangeLog: true }, true), [])
    const sm4 = { ...plain, EncryptKey: 'k', EncryptAlgo: 'sm4gcm' }
    assert.equal(unsupportedFeatures(sm4, true).length, 1)
  })
  it('of an ordinary volume are none', () => assert.deepEqual(unsupportedFeatures(plain, false), []))
  it('are not encryption and sharding', () =>
    assert.deepEqual(unsupportedFeatures({ ...plain, EncryptKey: 'k', Shards: 4 }, false), []))
})

describe('tier 0', () => {
  it('is where class and tag of new objects stand, or the older field where there are no tiers', () => {
    const tier = { ID: 0, StorageClass: 'IA', Tag: 'k=v' }
    assert.deepEqual(tierZero({ ...plain, StorageClass: 'OLD', Tiers: { 0: tier } }), tier)
    assert.equal(tierZero({ ...plain, StorageClass: 'OLD', Tiers: null }).StorageClass, 'OLD')
  })
  it('that is changed leaves the other tiers, and the older field agrees', () => {
    const other = { ID: 1, StorageClass: 'COLD', Tag: '' }
    const changed = withTierZero({ ...plain, Tiers: { 1: other } }, { ID: 0, StorageClass: 'IA', Tag: '' })
    assert.deepEqual(changed.Tiers, { 0: { ID: 0, StorageClass: 'IA', Tag: '' }, 1: other })
    assert.equal(changed.StorageClass, 'IA')
  })
})
