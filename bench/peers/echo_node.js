// Echo server on node's net: echo_node.js

const server = require('net').createServer({ noDelay: true }, (socket) => {
  socket.on('data', (data) => socket.write(data));
  socket.on('error', () => socket.destroy());
});

server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
  console.log(server.address().port);
});
