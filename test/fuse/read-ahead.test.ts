import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceOf } from '../../src/fuse/read-ahead.ts'

const MOUNT_INFO = `24 1 254:0 / / rw,relatime - ext4 /dev/root rw
60 24 0:40 / /mnt/a\\040b rw,nosuid,nodev,relatime - fuse.juicefs JuiceFS:one rw
61 24 0:41 / /mnt/x rw,nosuid,nodev,relatime - fuse.juicefs JuiceFS:two rw
62 61 0:42 / /mnt/x rw,nosuid,nodev,relatime - fuse.juicefs JuiceFS:three rw
`

test('the device of a mount is found by its place, the topmost one where several lie over each other', () => {
  assert.equal(deviceOf(MOUNT_INFO, '/mnt/a b'), '0:40')
  assert.equal(deviceOf(MOUNT_INFO, '/mnt/x'), '0:42')
  assert.equal(deviceOf(MOUNT_INFO, '/mnt'), null)
})
