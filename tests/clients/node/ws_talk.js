// A client of `ws` that talks with one of the talk servers: compressed and fragmented messages, pings of both sides, and
// closes of both sides. Arguments: URL, file of the authority.
const assert = require('assert');
const { randomBytes } = require('crypto');
const { once } = require('events');
const { readFileSync } = require('fs');
const WebSocket = require('ws');

const [url, authority] = process.argv.slice(2);
const CLOSES = [[1000, 'done'], [1000, ''], [3000, 'schöne Grüße'], [4001, 'x'.repeat(123)]];

async function open(perMessageDeflate) {
  const socket = new WebSocket(url, { ca: readFileSync(authority), perMessageDeflate });
  await once(socket, 'open');
  return socket;
}

async function answer(socket, send) {
  const answered = once(socket, 'message');
  send();
  return (await answered)[0];
}

async function echoes(socket) {
  for (const message of [Buffer.alloc(0), Buffer.alloc(1 << 20, 'compressible'), randomBytes(1 << 20)]) {
    assert(message.equals(await answer(socket, () => socket.send(message))));
  }
  const parts = ['from ', '', 'several ', 'frámes'];
  const whole = await answer(socket, () => {
    parts.forEach((part, at) => socket.send(part, { fin: at === parts.length - 1 }));
  });
  assert.strictEqual(whole.toString(), parts.join(''));
}

async function pings(socket) {
  const ponged = once(socket, 'pong');
  socket.ping('from the client');
  assert.strictEqual((await ponged)[0].toString(), 'from the client');
  const said = await answer(socket, () => socket.send('ping from the server'));
  assert.strictEqual(said.toString(), 'ponged from the server');
}

// Each code and reason once from either side. What the server was told it tells the watcher.
async function closes() {
  const watcher = await open(true);
  for (const [code, reason] of CLOSES) {
    const leaving = await open(true);
    const told = await answer(watcher, () => leaving.close(code, reason));
    assert.strictEqual(told.toString(), `closed ${code} ${reason}`);

    const left = await open(true);
    const noticed = once(watcher, 'message');
    left.send(`close ${code} ${reason}`);
    const [found, why] = await once(left, 'close');
    assert.deepStrictEqual([found, why.toString()], [code, reason]);
    await noticed;
  }
  watcher.close();
}

async function main() {
  for (const deflate of [{ threshold: 0 }, false]) {
    const socket = await open(deflate);
    assert.strictEqual(socket.extensions.startsWith('permessage-deflate'), deflate !== false);
    await echoes(socket);
    await pings(socket);
    const closed = once(socket, 'close');
    socket.close();
    assert.strictEqual((await closed)[0], 1005);
  }
  await closes();
  console.log('talked');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
