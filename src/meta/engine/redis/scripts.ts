/** The two Lua scripts. They know the layout's shapes, no rule of the file system: one reads several records at one moment, the
 *  other compares what was read and then writes, all or nothing (a script runs alone).
 *
 *  Both are little machines: each instruction is a letter among ARGV, takes its keys from KEYS and its operands from ARGV,
 *  in order. Letters and operands are made in `reads.ts`, `checks.ts` and `steps.ts`.
 *
 *  Lua's numbers are doubles and its `<` on strings compares by locale: inodes are spelled by halves, times compared as
 *  numbers. `unpack` fails near 8,000 values: callers send at most MAX_ARGS to one command. */

import { createHash } from 'node:crypto'

export interface Script {
  readonly source: string
  /** hex, for EVALSHA */
  readonly sha: string
}
const script = (source: string): Script => ({ source, sha: createHash('sha1').update(source).digest('hex') })

/** operands of one command */
export const MAX_ARGS = 1000
/** a chain of parents longer than this is a loop */
export const DEEPEST = 4096

/** 8 big-endian bytes at `at` as decimal digits. 0x7FFFFFFF00000000 is 9223372 032559808512: the last 12 digits carry the low
 *  word. Other numbers above 2^53 no volume holds. */
const DIGITS = `
local function digits(s, at)
  local hi, lo = struct.unpack('>I4I4', s, at)
  if hi < 2097152 then return string.format('%.0f', hi * 4294967296 + lo) end
  if hi == 2147483647 then return '9223372' .. string.format('%012.0f', 32559808512 + lo) end
  return 'none'
end`

/** KEYS and ARGV as the instructions need them; ARGV[1] = how many instructions. Returns one reply an instruction:
 *
 *      q n command operand…   any command on KEY
 *      d nodes name ask       KEY: entries of a directory → {entry, record of its target, has that entries?}
 *      a nodes                KEY: record of a node → its record, its parent's, … up to the root
 *      x from to              KEY: what chunk keys begin with → indexes that exist
 *      l rule                 KEYs: rules, highest id → id of the rule, stored where it is new
 *      e nodes count limit    KEY: entries → {next cursor, {name, entry, …}, {records} or false if there are too many}
 *      m n nodes name…        KEY: entries → {entry, record, …} of these names
 *
 *  \`nodes\` and \`chunks\` are what the keys of records begin with. */
export const GATHER = script(`
local call, KEYS, ARGV = redis.call, KEYS, ARGV
${DIGITS}
local out, k, a = {}, 1, 2
for i = 1, tonumber(ARGV[1]) do
  local op, key = ARGV[a], KEYS[k]
  a = a + 1
  k = k + 1
  if op == 'q' then
    local n = tonumber(ARGV[a])
    if n == 0 then out[i] = call(ARGV[a + 1], key)
    elseif n == 1 then out[i] = call(ARGV[a + 1], key, ARGV[a + 2])
    else out[i] = call(ARGV[a + 1], key, unpack(ARGV, a + 2, a + 1 + n)) end
    a = a + 2 + n
  elseif op == 'd' then
    local nodes = ARGV[a]
    local entry = call('HGET', key, ARGV[a + 1])
    local record, filled = false, false
    if entry and #entry >= 9 then
      local ino = digits(entry, 2)
      record = call('GET', nodes .. 'i' .. ino)
      if ARGV[a + 2] == '1' then filled = call('EXISTS', nodes .. 'd' .. ino) end
    end
    out[i] = { entry, record, filled }
    a = a + 3
  elseif op == 'a' then
    local chain, at = {}, key
    for _ = 1, ${DEEPEST} do
      local record = call('GET', at)
      if not record then break end
      chain[#chain + 1] = record
      if #record < 71 then break end
      local parent = digits(record, 64)
      local above = ARGV[a] .. 'i' .. parent
      if parent == '0' or above == at then break end
      at = above
    end
    out[i] = chain
    a = a + 1
  elseif op == 'x' then
    local found = {}
    for index = tonumber(ARGV[a]), tonumber(ARGV[a + 1]) - 1 do
      local digits = string.format('%.0f', index)
      if call('EXISTS', key .. digits) == 1 then found[#found + 1] = digits end
    end
    out[i] = found
    a = a + 2
  elseif op == 'l' then
    local rule, id = ARGV[a], false
    local last = tonumber(call('GET', KEYS[k]) or '0')
    for n = 1, last do
      if call('HGET', key, n) == rule then
        id = n
        break
      end
    end
    if not id then
      id = call('INCR', KEYS[k])
      call('HSET', key, id, rule)
    end
    out[i] = id
    k = k + 1
    a = a + 1
  elseif op == 'e' then
    local page = call('HSCAN', key, '0', 'COUNT', ARGV[a + 1])
    local pairs, records = page[2], false
    if page[1] == '0' and #pairs <= 2 * tonumber(ARGV[a + 2]) then
      records = {}
      for j = 2, #pairs, 2 do records[j / 2] = call('GET', ARGV[a] .. 'i' .. digits(pairs[j], 2)) end
    end
    out[i] = { page[1], pairs, records }
    a = a + 3
  else
    local n, nodes, rows = tonumber(ARGV[a]), ARGV[a + 1], {}
    for j = 1, n do
      local entry = call('HGET', key, ARGV[a + 1 + j])
      rows[2 * j - 1] = entry
      rows[2 * j] = entry and call('GET', nodes .. 'i' .. digits(entry, 2))
    end
    out[i] = rows
    a = a + 2 + n
  end
end
return out
`)

/** ARGV[1] = how many checks, ARGV[2] = how many steps; first all checks, then the steps. Returns 0 where a check fails,
 *  else {result, …} of the steps that have one. Each check asks KEY for:
 *
 *      G value              the string is this          N                    no such key
 *      E                    the key exists              R cut value          bytes 0…10 and from \`cut\` on of the record are this
 *      P parent             the record's parent is this F field value        the field is this
 *      f field              no such field               H n field value …    these are all fields, and so are their values
 *      K n field …          these are all fields        L value              the list's elements, joined, are this
 *      l n value            its first n elements are    S member 0|1         is it a member
 *      Z member score|''    its score                   C number             the counter, 0 where it is missing
 *      X from to n index …  of the keys KEY + index, these exist and no others
 *
 *  and each step does to KEY:
 *
 *      c n command operand …   the command; r: its reply is a result
 *      A links times|''        record: links added, mtime and ctime moved on
 *      x mtime ctime length    record: times set, length at least this
 *      i field n delta …       if KEY has the field: add to it in the n hashes that follow among KEYS
 *      u field lockKey prefix  a lock goes, and from the next KEY the name of its hash with the session's last one
 *      D prefix                all locks of a session go, by the names in KEY
 */
export const COMMIT = script(`
local call, KEYS, ARGV = redis.call, KEYS, ARGV
local k, a = 1, 3
for _ = 1, tonumber(ARGV[1]) do
  local op, key = ARGV[a], KEYS[k]
  a = a + 1
  k = k + 1
  if op == 'R' then
    local s = call('GET', key)
    if not s or s:sub(1, 11) .. s:sub(tonumber(ARGV[a]) + 1) ~= ARGV[a + 1] then return 0 end
    a = a + 2
  elseif op == 'G' then
    if call('GET', key) ~= ARGV[a] then return 0 end
    a = a + 1
  elseif op == 'N' then
    if call('EXISTS', key) ~= 0 then return 0 end
  elseif op == 'E' then
    if call('EXISTS', key) ~= 1 then return 0 end
  elseif op == 'f' then
    if call('HEXISTS', key, ARGV[a]) ~= 0 then return 0 end
    a = a + 1
  elseif op == 'F' then
    if call('HGET', key, ARGV[a]) ~= ARGV[a + 1] then return 0 end
    a = a + 2
  elseif op == 'P' then
    local s = call('GET', key)
    if not s or s:sub(64, 71) ~= ARGV[a] then return 0 end
    a = a + 1
  elseif op == 'L' then
    if table.concat(call('LRANGE', key, 0, -1)) ~= ARGV[a] then return 0 end
    a = a + 1
  elseif op == 'l' then
    if table.concat(call('LRANGE', key, 0, tonumber(ARGV[a]) - 1)) ~= ARGV[a + 1] then return 0 end
    a = a + 2
  elseif op == 'H' then
    local n = tonumber(ARGV[a])
    if call('HLEN', key) ~= n then return 0 end
    for i = a + 1, a + 2 * n, 2 do
      if call('HGET', key, ARGV[i]) ~= ARGV[i + 1] then return 0 end
    end
    a = a + 1 + 2 * n
  elseif op == 'K' then
    local n = tonumber(ARGV[a])
    if call('HLEN', key) ~= n then return 0 end
    for i = a + 1, a + n do
      if call('HEXISTS', key, ARGV[i]) ~= 1 then return 0 end
    end
    a = a + 1 + n
  elseif op == 'S' then
    if call('SISMEMBER', key, ARGV[a]) ~= tonumber(ARGV[a + 1]) then return 0 end
    a = a + 2
  elseif op == 'C' then
    if (call('GET', key) or '0') ~= ARGV[a] then return 0 end
    a = a + 1
  elseif op == 'Z' then
    local score = call('ZSCORE', key, ARGV[a])
    if (score and tonumber(score)) ~= (tonumber(ARGV[a + 1]) or false) then return 0 end
    a = a + 2
  else
    local from, to, n, seen = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), {}
    for i = a + 3, a + 2 + n do
      if call('EXISTS', key .. ARGV[i]) ~= 1 then return 0 end
      seen[tonumber(ARGV[i])] = true
    end
    for index = from, to - 1 do
      if not seen[index] and call('EXISTS', key .. string.format('%.0f', index)) ~= 0 then return 0 end
    end
    a = a + 3 + n
  end
end
local results = {}
for _ = 1, tonumber(ARGV[2]) do
  local op, key = ARGV[a], KEYS[k]
  a = a + 1
  k = k + 1
  if op == 'c' or op == 'r' then
    local n, command, reply = tonumber(ARGV[a]), ARGV[a + 1]
    if n == 0 then reply = call(command, key)
    elseif n == 1 then reply = call(command, key, ARGV[a + 2])
    elseif n == 2 then reply = call(command, key, ARGV[a + 2], ARGV[a + 3])
    else reply = call(command, key, unpack(ARGV, a + 2, a + 1 + n)) end
    if op == 'r' then results[#results + 1] = reply end
    a = a + 2 + n
  elseif op == 'A' then
    local s, times = call('GETRANGE', key, 23, 50), ARGV[a + 1]
    local mtime, ctime, nlink = s:sub(1, 12), s:sub(13, 24), struct.unpack('>I4', s, 25)
    if times ~= '' then
      local sec, nsec = struct.unpack('>i8I4', times)
      local function isPast(other)
        local otherSec, otherNsec = struct.unpack('>i8I4', other)
        return otherSec < sec or (otherSec == sec and otherNsec <= nsec)
      end
      if isPast(ctime) then mtime, ctime = times, times
      elseif isPast(mtime) then mtime = times end
    end
    nlink = math.max(0, nlink + tonumber(ARGV[a]))
    call('SETRANGE', key, 23, mtime .. ctime .. struct.pack('>I4', nlink))
    a = a + 2
  elseif op == 'x' then
    local s, wanted = call('GETRANGE', key, 47, 58), ARGV[a + 2]
    local length = s:sub(5, 12)
    local hi, lo = struct.unpack('>I4I4', length)
    local wantedHi, wantedLo = struct.unpack('>I4I4', wanted)
    if wantedHi > hi or (wantedHi == hi and wantedLo > lo) then length = wanted end
    call('SETRANGE', key, 23, ARGV[a] .. ARGV[a + 1] .. s:sub(1, 4) .. length)
    a = a + 3
  elseif op == 'i' then
    local field, n = ARGV[a], tonumber(ARGV[a + 1])
    if call('HEXISTS', key, field) == 1 then
      for i = 0, n - 1 do call('HINCRBY', KEYS[k + i], field, ARGV[a + 2 + i]) end
    end
    k = k + n
    a = a + 2 + n
  elseif op == 'u' then
    local prefix, isLast = ARGV[a + 2], true
    call('HDEL', key, ARGV[a])
    for _, field in ipairs(call('HKEYS', key)) do
      if field:sub(1, #prefix) == prefix then isLast = false end
    end
    if isLast then call('SREM', KEYS[k], ARGV[a + 1]) end
    k = k + 1
    a = a + 3
  else
    local prefix = ARGV[a]
    for _, hash in ipairs(call('SMEMBERS', key)) do
      for _, field in ipairs(call('HKEYS', hash)) do
        if field:sub(1, #prefix) == prefix then call('HDEL', hash, field) end
      end
    end
    call('DEL', key)
    a = a + 1
  end
end
return results
`)
