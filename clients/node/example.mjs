// Asks a running daemon about one draft. First: npm ci

import { Judge } from 'judged-client';

const judge = new Judge();
const context = { company: 'DevCo', headcount: 200, opt_out_channels: ['email'] };
const verdict = await judge.judge(context, 'Hi, a word about your roadmap …');
console.log(verdict.label, verdict.disposition, verdict.rationale);
if (verdict.maySend) console.log('send it');
judge.close();
