// A socket.io application with rooms: it acknowledges what it gets, and by which transport it got it.
const { createServer } = require('http');
const { Server } = require('socket.io');

const http = createServer();
const io = new Server(http, { maxHttpBufferSize: 1 << 22 });

io.on('connection', (socket) => {
  socket.on('echo', (value, acknowledge) => acknowledge({ value, transport: socket.conn.transport.name }));
  socket.on('join', (room, acknowledge) => {
    socket.join(room);
    acknowledge();
  });
  socket.on('say', (room, text) => io.to(room).emit('said', text));
});

http.listen(process.env.PORT || 3000, '127.0.0.1', () => {
  console.log(`listening on port ${http.address().port}`);
});
