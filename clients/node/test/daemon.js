// A daemon of one's own, without a model.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Stopped at the end of the test `t`; it can be started again at the same address. */
export class Daemon {
  addr = '127.0.0.1:0';

  constructor(t, ...options) {
    this.folder = mkdtempSync(join(tmpdir(), 'judged-'));
    this.options = options;
    t.after(async () => {
      await this.stop();
      rmSync(this.folder, { recursive: true });
    });
  }

  async start() {
    const log = join(this.folder, 'judged.log');
    const settings = ['--listen', this.addr, '--control-listen', '127.0.0.1:0'];
    if (!this.options.includes('--mode')) settings.push('--mode', 'rules-only');
    settings.push('--state-dir', join(this.folder, 'state'), '--log', 'info', '--log-format', 'text');
    const stdio = ['ignore', 'ignore', openSync(log, 'w')];
    this.process = spawn(process.env.JUDGED, ['serve', ...settings, ...this.options], { stdio });
    for (const end = Date.now() + 30_000; ; await sleep(50)) {
      const text = readFileSync(log, 'utf8');
      const found = /judge_addr=(\S+)/.exec(text);
      if (found) {
        this.addr = found[1];
        return this;
      }
      assert.ok(this.process.exitCode === null && Date.now() < end, text);
    }
  }

  /** Stops it where it is; a signal alone may come after the next call. */
  async pause() {
    this.process.kill('SIGSTOP');
    const tasks = `/proc/${this.process.pid}/task`;
    const stopped = (task) => readFileSync(join(tasks, task, 'stat'), 'utf8').includes(') T ');
    while (!readdirSync(tasks).every(stopped)) await sleep(10);
  }

  resume() {
    this.process.kill('SIGCONT');
  }

  async stop() {
    if (this.process.exitCode !== null) return;
    this.resume();
    const exit = once(this.process, 'exit');
    this.process.kill('SIGTERM');
    assert.equal((await exit)[0], 0);
  }
}
