// The README of `graphql-ws`: subscriptions over `ws`, with one that counts and one that goes on for ever.
const { GraphQLInt, GraphQLNonNull, GraphQLObjectType, GraphQLSchema, GraphQLString } = require('graphql');
const { useServer } = require('graphql-ws/use/ws');
const { WebSocketServer } = require('ws');

const left = { ticking: 0 };

async function* count(_, { to }) {
  for (let number = 1; number <= to; number += 1) {
    await new Promise((done) => setImmediate(done));
    yield { count: number };
  }
}

async function* tick() {
  left.ticking += 1;
  try {
    for (let number = 0; ; number += 1) {
      yield { tick: number };
      await new Promise((done) => setTimeout(done, 5));
    }
  } finally {
    left.ticking -= 1;
  }
}

const number = new GraphQLNonNull(GraphQLInt);
const schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: 'Query',
    fields: {
      hello: { type: GraphQLString, resolve: () => 'world' },
      ticking: { type: number, resolve: () => left.ticking },
    },
  }),
  subscription: new GraphQLObjectType({
    name: 'Subscription',
    fields: {
      count: { type: number, args: { to: { type: number } }, subscribe: count },
      tick: { type: number, subscribe: tick },
    },
  }),
});

const server = new WebSocketServer({ host: '127.0.0.1', port: process.env.PORT || 4000, path: '/graphql' }, () => {
  console.log(`listening on port ${server.address().port}`);
});
useServer({ schema }, server);
