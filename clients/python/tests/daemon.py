"""A daemon of one's own, without a model."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path


class Daemon:
    """Stopped at the end of its `with`; it can be started again at the same address."""

    def __init__(self, folder, *arguments):
        self.folder, self.arguments = folder, arguments
        self.addr = "127.0.0.1:0"
        self.process = None

    def start(self):
        log = self.folder / "judged.log"
        command = [os.environ["JUDGED"], "serve", "--listen", self.addr]
        command += [] if "--mode" in self.arguments else ["--mode", "rules-only"]
        command += ["--control-listen", "127.0.0.1:0", "--state-dir", self.folder / "state"]
        command += ["--log", "info", "--log-format", "text", *self.arguments]
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stderr=file)
        end = time.monotonic() + 30
        while not (found := re.search(r"judge_addr=(\S+)", log.read_text())):
            assert self.process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        self.addr = found[1]
        return self

    def pause(self):
        """Stops it where it is; a signal alone may come after the next call."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        while any(") T " not in (task / "stat").read_text() for task in tasks.iterdir()):
            time.sleep(0.01)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.resume()
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
