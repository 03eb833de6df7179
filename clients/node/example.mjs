// Asks a running daemon about one draft. First: npm ci

import { ask, judgeClient } from './client.mjs';

const context = { company: 'DevCo', headcount: 200, opt_out_channels: ['email'] };
const judge = judgeClient();
const answer = await ask(judge, 'Judge', {
  context_json: JSON.stringify(context),
  draft: 'Hi, a word about your roadmap …',
});
// Send nothing unless this says DISPOSITION_DISPATCH.
console.log(answer.label, answer.disposition, answer.rationale);
judge.close();
