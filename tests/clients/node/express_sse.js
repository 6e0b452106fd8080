// Server-sent events with Express, as its tutorials have it.
const express = require('express');
const app = express();

app.get('/', (req, res) => {
  res.send(`<!DOCTYPE html>
<title>Express</title>
<ul id="list"></ul>
<script>
  const source = new EventSource('/events');
  source.onmessage = (event) => {
    const item = document.createElement('li');
    item.textContent = event.data;
    document.getElementById('list').appendChild(item);
  };
</script>`);
});

app.get('/events', (req, res) => {
  res.setHeader('Content-Type', 'text/event-stream');
  res.setHeader('Cache-Control', 'no-cache');
  res.setHeader('Connection', 'keep-alive');
  res.flushHeaders();

  let counter = 0;
  const interval = setInterval(() => {
    counter += 1;
    res.write(`data: ${JSON.stringify({ counter })}\n\n`);
  }, 200);

  req.on('close', () => {
    clearInterval(interval);
    res.end();
    console.log('client gone');
  });
});

const server = app.listen(process.env.PORT || 3000, '127.0.0.1', () => {
  console.log(`listening on port ${server.address().port}`);
});
