// The `eventsource` package as its documentation has it: prints each event as JSON, comes back by itself, and closes after
// the event whose data is `again`. Arguments: URL. The authority is trusted by NODE_EXTRA_CA_CERTS.
const { EventSource } = require('eventsource');

const source = new EventSource(process.argv[2]);
const note = (event) => {
  console.log(JSON.stringify([event.type, event.data, event.lastEventId]));
  if (event.data === 'again') source.close();
};
for (const name of ['message', 'named', 'last']) source.addEventListener(name, note);
source.addEventListener('error', (error) => {
  if (source.readyState === EventSource.CLOSED) throw new Error(`closed: ${error.message}`);
});
