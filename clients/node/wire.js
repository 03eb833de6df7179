// Our words and the wire's: names without prefixes, times in seconds. No code is generated: the
// proto files are read at the start, from the package or from the repository.

import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { fromEvent } from './errors.js';

const includeDirs = ['./proto', '../../proto'].map((folder) => fileURLToPath(new URL(folder, import.meta.url)));
const options = { includeDirs, enums: String, longs: Number, defaults: true, oneofs: true };
const { judge } = grpc.loadPackageDefinition(loadSync('judge/v1/judge.proto', options));

export const { JudgeService } = judge.v1;

/** A TypeError or RangeError for what the wire cannot carry. */
export function requestToWire({ requestId, context, draft, channel, rationale = true }) {
  return {
    requestId,
    contextJson: typeof context === 'string' ? context : JSON.stringify(context),
    draft,
    channel: named(judge.v1.Channel, 'CHANNEL_', channel),
    rationaleMode: rationaleMode(rationale),
  };
}

function rationaleMode(rationale) {
  const modes = [[false, 'NONE'], [true, 'SENTENCE'], ['evidence', 'EVIDENCE']];
  const mode = modes.find(([ours]) => ours === rationale);
  if (!mode) throw new RangeError(`rationale is ${rationale}, neither true, false nor 'evidence'`);
  return `RATIONALE_MODE_${mode[1]}`;
}

export function reportToWire({ decisionId, kind, by, trueLabel, incidentTier = 0, note = '', probe = '' }) {
  return {
    decisionId,
    kind: named(judge.v1.OutcomeKind, 'OUTCOME_KIND_', kind),
    trueLabel: named(judge.v1.Label, 'LABEL_', trueLabel),
    incidentTier,
    reportedBy: by,
    note,
    probe,
  };
}

export function verdictFromWire(requestId, answer) {
  const disposition = name('DISPOSITION_', answer.disposition);
  return Object.freeze({
    requestId,
    decisionId: answer.decisionId,
    label: name('LABEL_', answer.label),
    disposition,
    maySend: disposition === 'DISPATCH',
    rationale: answer.rationale,
    scores: Object.fromEntries(answer.scores.map(({ label, probability }) => [name('LABEL_', label), probability])),
    decidedBy: name('DECIDED_BY_', answer.decidedBy),
    mode: name('MODE_', answer.mode),
    degradedReason: answer.degradedReason,
    rules: answer.rules,
    model: answer.model,
    usage: answer.usage,
    timings: timings(answer.timings),
    legalMass: answer.legalMass,
  });
}

/** Null for a kind of a newer daemon. */
export function eventFromWire({ requestId, event, verdict, rationale, error }) {
  switch (event) {
    case 'verdict':
      return { kind: 'judged', requestId, verdict: verdictFromWire(requestId, verdict) };
    case 'rationale':
      return { kind: 'reasoned', requestId, ...rationale, timings: timings(rationale.timings) };
    case 'error':
      return { kind: 'failed', requestId, error: fromEvent(error) };
    default:
      return null;
  }
}

/** Of a newer daemon's names, which come as numbers, comes UNSPECIFIED. */
const name = (prefix, value) => (typeof value === 'string' ? value.slice(prefix.length) : 'UNSPECIFIED');

/** Without a check, an unknown name would be sent as none. */
function named(kind, prefix, value = 'UNSPECIFIED') {
  const full = prefix + value;
  if (!kind.type.value.some((each) => each.name === full)) throw new RangeError(`there is no ${full}`);
  return full;
}

const seconds = (duration) => (duration ? duration.seconds + duration.nanos / 1e9 : 0);

const timings = (wire) =>
  Object.fromEntries(['queue', 'prefill', 'decode', 'total'].map((stage) => [stage, seconds(wire?.[stage])]));
