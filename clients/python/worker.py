"""A queue before the sending: judges drafts, and puts into the outbox what may be sent.

    python worker.py --verdicts verdicts.jsonl --outbox outbox.jsonl <drafts.jsonl

A line is {"id": …, "context": {…}, "draft": …, "channel": …}; without a channel it is the context's,
or e-mail. Verdicts are appended as they get ready. After a crash give the same lines again: an id
that the daemon knows gets the same decision, and may be twice in the files.
"""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict, replace

from judged_client import AsyncJudge, Draft, Failed, Judged, JudgeError, Unavailable


class Worker:
    def __init__(self, judge, verdicts, outbox, in_flight):
        self.judge, self.verdicts, self.outbox = judge, verdicts, outbox
        self.room = asyncio.Semaphore(in_flight)
        self.open = {}  # Drafts that wait for their last word, by id.
        self.labels = {}  # Verdicts that wait for their rationale, by id.
        self.todo = asyncio.Queue()
        self.all_read = False
        self.failures = 0

    async def run(self, lines):
        """Gives how many lines got no verdict. A broken stream is opened anew."""
        reading = asyncio.create_task(self.read(lines))
        pause = 0.5
        while not (self.all_read and not self.open):
            try:
                async for event in self.judge.stream(self.feed(self.todo)):
                    pause = 0.5
                    self.take(event)
            except Unavailable as error:
                print(f"again in {pause} s: {error}", file=sys.stderr)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 30)
            # A label without its rationale says nothing of what the next stream answers.
            self.labels.clear()
            self.todo = asyncio.Queue()
            for draft in self.open.values():
                self.todo.put_nowait(draft)
        await reading
        return self.failures

    async def read(self, lines):
        try:
            while True:
                await self.room.acquire()
                line = await asyncio.to_thread(lines.readline)
                if not line:
                    return
                self.enqueue(line)
        finally:
            self.all_read = True
            self.end_when_done()

    def enqueue(self, line):
        try:
            row = json.loads(line)
            draft = Draft(row["context"], row["draft"], row.get("channel"), request_id=row["id"])
            draft.to_wire()
            if draft.request_id in self.open:
                raise ValueError(f"the id `{draft.request_id}` is in flight already")
        except (KeyError, TypeError, ValueError) as error:
            self.fail({"line": line.strip(), "error": f"{type(error).__name__}: {error}"})
            return
        self.open[draft.request_id] = draft
        self.todo.put_nowait(draft)

    async def feed(self, todo):
        while draft := await todo.get():
            yield draft

    def take(self, event):
        draft, verdict = self.open.get(event.request_id), self.labels.get(event.request_id)
        match event:
            case _ if draft is None:
                pass  # It was sent twice, and has its last word.
            case Judged():
                self.labels[event.request_id] = event.verdict
            case Failed(error=error) if verdict is None and is_passing(error):
                delay = error.retry_delay or 1.0
                # In this stream's queue: the next stream sends again by itself all that is open.
                again = self.todo.put_nowait
                asyncio.get_running_loop().call_later(delay, again, draft)
            case Failed() if verdict is None:
                self.close(draft)
                self.fail({"request_id": draft.request_id, "error": str(event.error)})
            case Failed():
                self.decide(draft, verdict)
            case _ if verdict is not None:
                self.decide(draft, replace(verdict, rationale=event.rationale))

    def decide(self, draft, verdict):
        append(self.verdicts, {**asdict(verdict), "may_send": verdict.may_send})
        if verdict.may_send:
            append(self.outbox, {"id": draft.request_id, "draft": draft.draft})
        self.close(draft)
        self.room.release()

    def fail(self, row):
        append(self.verdicts, row)
        self.failures += 1
        self.room.release()

    def close(self, draft):
        del self.open[draft.request_id]
        self.labels.pop(draft.request_id, None)
        self.end_when_done()

    def end_when_done(self):
        if self.all_read and not self.open:
            self.todo.put_nowait(None)


def is_passing(error):
    """A deadline that is out of reach says when to come back, too."""
    return isinstance(error, Unavailable) or error.retry_delay is not None


def append(file, row):
    print(json.dumps(row, ensure_ascii=False), file=file, flush=True)


async def main():
    parser = argparse.ArgumentParser(description="Judges drafts from stdin.")
    parser.add_argument("--verdicts", type=argparse.FileType("a", encoding="utf-8"), required=True)
    parser.add_argument("--outbox", type=argparse.FileType("a", encoding="utf-8"), required=True)
    parser.add_argument("--in-flight", type=int, default=16, help="drafts at the daemon (16)")
    options = parser.parse_args()
    async with AsyncJudge() as judge:
        worker = Worker(judge, options.verdicts, options.outbox, options.in_flight)
        try:
            return 1 if await worker.run(sys.stdin) else 0
        except JudgeError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            # Without the wait for the thread that waits for a line.
            os._exit(1)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
