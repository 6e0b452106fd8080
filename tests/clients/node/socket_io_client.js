// socket.io clients with the default transports: they begin by long polling and go over to a WebSocket, at which no message
// may be lost or change its place. Arguments: URL, file of the authority.
const assert = require('assert');
const { readFileSync } = require('fs');
const { io } = require('socket.io-client');

const [url, authority] = process.argv.slice(2);

// `transports` takes the names of those that the connection goes over, one after the other. The upgrade can be done as soon as
// the socket is connected, so this listens from the start.
async function connect(transports = []) {
  const socket = io(url, { ca: readFileSync(authority), forceNew: true, reconnection: false });
  const { engine } = socket.io;
  transports.push(engine.transport.name);
  engine.on('upgrade', ({ name }) => transports.push(name));
  await new Promise((resolve, reject) => socket.on('connect', resolve).on('connect_error', reject));
  return socket;
}

// Sends numbers from `first` on, as long as `more` says so, and expects each back.
async function echo(socket, first, more) {
  const transports = new Set();
  let number = first;
  for (; more(number); number += 1) {
    const { value, transport } = await socket.timeout(10_000).emitWithAck('echo', number);
    assert.strictEqual(value, number);
    transports.add(transport);
  }
  return { next: number, transports };
}

async function upgrades() {
  const transports = [];
  const socket = await connect(transports);
  const before = await echo(socket, 0, () => transports.length < 2);
  assert.deepStrictEqual(transports, ['polling', 'websocket']);
  const after = await echo(socket, before.next, (number) => number < before.next + 50);
  assert.deepStrictEqual([...after.transports], ['websocket']);
  const large = Buffer.alloc(1 << 20, 'megabyte');
  const back = await socket.timeout(10_000).emitWithAck('echo', large);
  assert(large.equals(back.value));
  socket.disconnect();
  console.log('upgraded from polling to websocket');
}

async function keepsOrder() {
  const [spoken, listened] = [[], []];
  const [speaker, listener] = [await connect(spoken), await connect(listened)];
  await listener.timeout(10_000).emitWithAck('join', 'room');
  const heard = [];
  const all = new Promise((resolve) => listener.on('said', (text) => {
    if (heard.push(text) === 200) resolve();
  }));
  // The rounds between these reach past the upgrade of both.
  for (let number = 0; number < 200; number += 1) {
    speaker.emit('say', 'room', number);
    if (number % 10 === 9) await echo(speaker, 0, (round) => round < 1);
  }
  await all;
  assert.deepStrictEqual(heard, Array.from({ length: 200 }, (_, number) => number));
  await echo(speaker, 0, () => spoken.length < 2 || listened.length < 2);
  speaker.disconnect();
  listener.disconnect();
  console.log('heard 200 in order');
}

upgrades().then(keepsOrder).catch((error) => {
  console.error(error);
  process.exit(1);
});
