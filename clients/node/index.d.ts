// Send nothing without a verdict whose `maySend` is true. An error is no verdict.

/** Of a newer daemon's names, which this client does not know, comes UNSPECIFIED. */
export type Label = 'SUPPRESS' | 'ESCALATE' | 'BLOCK' | 'PENALISE' | 'PASS' | 'UNSPECIFIED';
export type Disposition = 'DISPATCH' | 'HOLD_FOR_REVIEW' | 'ROUTE_TO_HUMAN' | 'DO_NOT_SEND' | 'UNSPECIFIED';
export type DecidedBy = 'MODEL' | 'RULES' | 'UNSPECIFIED';
export type Mode = 'ENFORCE' | 'SHADOW' | 'RULES_ONLY' | 'UNSPECIFIED';
export type Channel = 'EMAIL' | 'SMS' | 'LINKEDIN';

/** What is not given is as the environment says. */
export interface JudgeOptions {
  /**
   * `host:port`, or a URL: TLS is spoken with https://, and not with http://. JUDGED_ADDR, else
   * `127.0.0.1:50551`.
   */
  addr?: string;
  /**
   * Paths of PEM files: JUDGED_CLIENT_TLS_CA, _CERT and _KEY. Where `addr` is no URL, TLS is spoken where
   * there is a `ca` or a `cert`. Without a `ca`, the authorities are those of Node.
   */
  ca?: string;
  cert?: string;
  key?: string;
  /** JUDGED_TOKEN_FILE's content, or JUDGED_TOKEN. It goes in plaintext to this machine alone. */
  token?: string;
  /** Seconds, where a call names none: 60. */
  timeout?: number;
  /** How often a call of `judge` is sent at most, 1 to 5, where the daemon is away or full: 5. */
  attempts?: number;
}

export interface CallOptions {
  /** Seconds. */
  timeout?: number;
  /** Ends the call, which then fails with the signal's reason. */
  signal?: AbortSignal;
}

export interface DraftOptions {
  /** Else the context's `intended_channel`, else e-mail. */
  channel?: Channel;
  /** False: the label alone, which is the fastest answer. */
  rationale?: boolean | 'evidence';
  /**
   * The same id with the same content gives the same decision again, so keep it with the draft where
   * there are restarts to survive: at most 128 bytes. Without one it is new.
   */
  requestId?: string;
}

export interface Draft extends DraftOptions {
  /** What is known of the prospect, or JSON text of it. */
  context: object | string;
  draft: string;
}

export interface Verdict {
  readonly requestId: string;
  readonly decisionId: string;
  readonly label: Label;
  readonly disposition: Disposition;
  /** Whether the disposition is DISPATCH. */
  readonly maySend: boolean;
  /** One sentence; empty if none was asked for, if it failed, or if it is still to come. */
  readonly rationale: string;
  /** The five labels' probabilities; empty where no model took part. */
  readonly scores: Readonly<Partial<Record<Label, number>>>;
  readonly decidedBy: DecidedBy;
  readonly mode: Mode;
  /** Why the answer is less than the mode asks for; else empty. */
  readonly degradedReason: string;
  /** Those that fired, where known, such as `rule_2_opt_out`. */
  readonly rules: readonly string[];
  /** Exactly which weights and which prompt decided; null where no model took part. */
  readonly model: Revision | null;
  readonly usage: Usage;
  readonly timings: Timings;
  /** What the five labels hold of the whole probability, 0 to 1. */
  readonly legalMass: number;
}

export interface Revision {
  readonly bundle: string;
  readonly baseSha256: string;
  readonly adapterSha256: string;
  readonly scale: number;
  readonly templateSha256: string;
  /** Written into a copy of the base's weights, not applied at each step. */
  readonly adapterMerged: boolean;
}

/** Tokens. */
export interface Usage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generatedTokens: number;
}

/** Seconds in the daemon. */
export interface Timings {
  readonly queue: number;
  readonly prefill: number;
  readonly decode: number;
  readonly total: number;
}

export type Event =
  /** The label is certain; the verdict's rationale is still empty. */
  | { kind: 'judged'; requestId: string; verdict: Verdict }
  /** Completes a verdict. */
  | {
      kind: 'reasoned';
      requestId: string;
      decisionId: string;
      rationale: string;
      usage: Usage;
      timings: Timings;
    }
  /** One draft has failed, and the stream goes on. After `judged`, the label stands. */
  | { kind: 'failed'; requestId: string; error: JudgeError };

export interface ReportOptions extends CallOptions {
  /** With MISSED_VIOLATION. */
  trueLabel?: Exclude<Label, 'PASS' | 'UNSPECIFIED'>;
  /** 1, the worst, to 3: with INCIDENT. */
  incidentTier?: number;
  note?: string;
  /** What it is a case of, such as `E01`. */
  probe?: string;
}

/** One connection, made at the first call, and again when lost. Failures are `JudgeError`. */
export class Judge {
  constructor(options?: JudgeOptions);

  /** May this text be sent? */
  judge(context: object | string, draft: string, options?: DraftOptions & CallOptions): Promise<Verdict>;

  /**
   * Judges drafts as they come, on one stream: of each, the label first. Without a `timeout` the
   * stream lasts as long as there are drafts. When it breaks, which is `Unavailable`, send what has no
   * verdict again with the same ids.
   */
  stream(drafts: Iterable<Draft> | AsyncIterable<Draft>, options?: CallOptions): AsyncGenerator<Event, void, void>;

  /** Tells what a person, `by`, later found; true if that has tripped the kill switch. */
  report(
    decisionId: string,
    kind: 'RIGHT' | 'FALSE_POSITIVE' | 'MISSED_VIOLATION' | 'INCIDENT',
    by: string,
    options?: ReportOptions,
  ): Promise<boolean>;

  close(): void;
}

/** There is no verdict: send nothing. */
export class JudgeError extends Error {
  /** gRPC's name, such as `INVALID_ARGUMENT`. */
  readonly code: string;
  /** The stable name of the cause, such as `QUEUE_FULL`; empty where the daemon was not reached. */
  readonly reason: string;
  readonly fieldViolations: readonly { readonly field: string; readonly description: string }[];
  /** Seconds after which to try again; null where the daemon does not say so. */
  readonly retryDelay: number | null;
}

/** The request is wrong, and stays so: `fieldViolations` says where. */
export class InvalidRequest extends JudgeError {}

/** The token is missing, unknown, or not for this. */
export class Denied extends JudgeError {}

/** No daemon is there, or it is full or draining: try again later. */
export class Unavailable extends JudgeError {}

/** The answer did not come in time, or could not have. */
export class DeadlineExceeded extends JudgeError {}
