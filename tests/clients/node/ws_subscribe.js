// A feed as exchanges have them: nothing is sent before `{"op":"subscribe","room":…}`, and each connection has to say `ping` as
// text, which is answered by `pong`; one that says nothing for longer than SILENCE ms (0: it may) is closed with 4000.
// Frames have a topic: `{"topic":…,"event":…,"payload":{"symbol":…,"price":…}}`. A message `{"op":"quote",…}` is told to all
// in its room.
const { WebSocketServer } = require('ws');

const silence = Number(process.env.SILENCE || 0);
const server = new WebSocketServer({ host: '127.0.0.1', port: process.env.PORT || 8080 }, () => {
  console.log(`listening on port ${server.address().port}`);
});

function frame(room, event, payload) {
  return JSON.stringify({ topic: `rooms:${room}`, event, payload });
}

function obey(socket, order) {
  if (order.op === 'subscribe') {
    socket.room = order.room;
    socket.send(JSON.stringify({ op: 'subscribed', room: order.room, ok: true }));
    for (const [at, symbol] of ['GOLD', 'TIN', 'GOLD'].entries()) {
      socket.send(frame(order.room, 'quote', { symbol, price: 100 + at }));
    }
    return;
  }
  if (order.op !== 'quote' || !socket.room) return socket.close(4001, 'subscribe first');
  for (const other of server.clients) {
    if (other.room === socket.room) other.send(frame(socket.room, 'quote', { symbol: order.symbol, price: order.price }));
  }
}

server.on('connection', (socket) => {
  let timer;
  const alive = () => {
    clearTimeout(timer);
    if (silence) timer = setTimeout(() => socket.close(4000, 'silent'), silence);
  };
  alive();
  socket.on('error', console.error);
  socket.on('close', () => clearTimeout(timer));
  socket.on('message', (data) => {
    alive();
    const text = data.toString();
    if (text === 'ping') return socket.send('pong');
    obey(socket, JSON.parse(text));
  });
});
