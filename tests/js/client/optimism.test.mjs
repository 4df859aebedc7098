// Writes that are shown before their commit is seen, in every order in which answers and states may come.

import assert from "node:assert/strict";
import { test } from "node:test";

import { changed, replaced } from "../../../clients/typescript/dist/changed.js";
import { EarlyWrites } from "../../../clients/typescript/dist/early.js";

const stateOf = (version, value) => ({ key: "A", version, stamp: `1.${version}`, value: { n: value } });

// Numbers drawn from a seed, so that a failure can be repeated. Source: G. Marsaglia, "Xorshift RNGs" (2003).
function generator(seed) {
  let x = seed * 2_654_435_761 || 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

test("each own write is counted once from its beginning on, and what others did never comes back", () => {
  for (let seed = 1; seed <= 3_000; seed += 1) run(seed);
});

// Own writes add 1, those of others 1,000. The server carries own writes out in their order, refuses some, and answers and pushes
// at any later time, pushes in order and with gaps.
function run(seed) {
  const draw = generator(seed);
  const writes = new EarlyWrites();
  const server = [stateOf(1, 0)];
  let newest = server[0];
  const [sent, answers] = [[], []];
  let expected = 0;
  let others = 0;
  const shows = (what) => {
    const { state, isOptimistic } = writes.over(newest);
    assert.equal(state.value.n % 1_000, expected, `seed ${seed}, ${what}: own writes`);
    assert.ok(state.value.n >= others, `seed ${seed}, ${what}: others' writes`);
    others = state.value.n - (state.value.n % 1_000);
    return isOptimistic;
  };
  const commit = (amount) => server.push(stateOf(server.at(-1).version + 1 + draw(3), server.at(-1).value.n + amount));
  const steps = [
    function begin() {
      expected += 1;
      sent.push(writes.begin(newest, ({ n }) => ({ n: n + 1 })));
    },
    function other() {
      commit(1_000);
    },
    function carryOut() {
      if (sent.length === 0) return;
      const end = sent.shift();
      if (draw(4) === 0) return answers.push(() => ((expected -= 1), end()));
      commit(1);
      const { stamp } = server.at(-1);
      answers.push(() => end(stamp));
    },
    function answer() {
      if (answers.length === 0) return;
      answers.splice(draw(answers.length), 1)[0]();
      writes.settle(newest);
    },
    function push() {
      const later = server.filter(({ version }) => version > newest.version);
      if (later.length === 0) return;
      newest = later[draw(later.length)];
      writes.settle(newest);
    },
  ];
  for (let n = 0; n < 40; n += 1) {
    const step = steps[draw(steps.length)];
    step();
    shows(step.name);
  }
  for (const [, , carryOut, answer] = steps; sent.length + answers.length > 0; answer()) carryOut();
  newest = server.at(-1);
  writes.settle(newest);
  assert.equal(shows("the end"), false);
  assert.deepEqual([writes.isEmpty, writes.over(newest).state], [true, newest]);
}

test("what is shown is the same object until something changes", () => {
  const writes = new EarlyWrites();
  const before = stateOf(1, 0);
  const end = writes.begin(before, ({ n }) => ({ n: n + 1 }));
  const shown = writes.over(before);
  assert.equal(writes.over(before), shown);
  end("1.2");
  assert.deepEqual(writes.over(before).state, shown.state);
  const after = stateOf(2, 1);
  writes.settle(after);
  assert.deepEqual(writes.over(after), { state: after, isOptimistic: false });
});

test("a change is worked out as the server does it", () => {
  const row = { sku: "A", price: 0.1, stock: 3, note: "x", attributes: { size: 3, tags: ["a"], deep: { a: 1, b: 2 } } };
  const merge = { note: null, attributes: { size: null, tags: ["b"], deep: { b: 3 }, more: { x: null, y: 1 } } };
  assert.deepEqual(changed(row, { merge, increment: { price: 0.2, stock: -4 } }), {
    sku: "A",
    price: 0.3,
    stock: -1,
    note: null,
    attributes: { tags: ["b"], deep: { a: 1, b: 3 }, more: { y: 1 } },
  });
  assert.deepEqual(changed(null, { merge: { price: 2, note: undefined } }), { price: 2 });
  assert.equal(changed({ n: 1e-7 }, { increment: { n: 2e-7 } }).n, 3e-7);
  assert.equal(changed('{"raw":1}', { merge: { raw: 2 } }), '{"raw":1}', "a text is not guessed at");
  assert.deepEqual(replaced(row, { price: 2, attributes: {} }), { ...row, price: 2, attributes: {} });
  assert.deepEqual(replaced(null, { price: 2 }), { price: 2 });
  assert.equal(row.price, 0.1, "what was given is left as it was");
});
