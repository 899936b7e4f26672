/** Answers each message by itself, for the test of the pool. */

import { parentPort } from 'node:worker_threads'

parentPort!.on('message', message => parentPort!.postMessage(message))
