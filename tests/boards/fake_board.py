# SPDX-License-Identifier: Apache-2.0
"""A board played by a thread at the other end of a pseudo terminal, after `boards.frames`."""

import os
import pty
import select
import struct
import threading
import time
import tty

from boards.frames import ERROR, READ, REPLY, Command, Error, Frame, Parser

STATUS = struct.pack("<BBHI", 2, 1, 5, 0)   # with weights that are loaded


class FakeBoard(threading.Thread):
    """Answers the n-th inference with answers[n], bytes of 64-bit words.

    busy:   so many READs of each inference are refused as busy
    damage: called with (number, bytes) of each reply, returns what goes on the line
    samples, writes, requests: what was carried out, and all that came
    """

    def __init__(self, identity, answers=(), busy=0, damage=lambda number, data: data, part=4096,
                 refuse=None):
        super().__init__(daemon=True)
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)
        self.identity, self.answers, self.busy = identity, list(answers), busy
        self.damage, self.part, self.refuse = damage, part, refuse
        self.samples, self.writes, self.requests, self.replies = [], [], [], 0
        self.last, self.missing, self.current, self.left = None, 0, -1, 0
        self.stop = threading.Event()

    def run(self):
        parser = Parser()
        while not self.stop.is_set():
            if select.select([self.master], [], [], 0.02)[0]:
                for frame in parser.feed(os.read(self.master, 4096)):
                    self.requests.append(frame)
                    self.reply(frame, self.handle(frame))

    def reply(self, frame, result):
        if isinstance(result, Error):
            reply = Frame(frame.sequence, ERROR, bytes([result]))
        else:
            self.last = frame.sequence
            reply = Frame(frame.sequence, frame.command | REPLY, result)
        data = self.damage(self.replies, reply.encode())
        self.replies += 1
        for start in range(0, len(data), self.part):
            os.write(self.master, data[start:start + self.part])
            time.sleep(0.001)

    def handle(self, frame):
        if frame.command == Command.IDENTIFY:
            return self.identity.pack()
        if self.last is None or frame.sequence not in (self.last, (self.last + 1) % 256):
            return Error.SEQUENCE
        if self.refuse and frame.command == self.refuse[0]:
            return self.refuse[1]
        if frame.command == Command.READ:
            if self.left:
                self.left -= 1
                return Error.BUSY
            first, count = READ.unpack(frame.payload)
            return self.answers[self.current][8 * first:8 * (first + count)]
        if frame.command == Command.STATUS:
            return STATUS
        if frame.sequence != self.last:
            if frame.command == Command.RESET:
                self.missing = 0
            elif frame.command == Command.WRITE:
                self.writes.append(frame.payload)
            elif frame.command == Command.SAMPLES:
                if not self.missing:
                    self.missing = self.identity.samples * self.identity.sample_bytes
                    self.samples.append(b"")
                    self.current, self.left = self.current + 1, self.busy
                self.samples[-1] += frame.payload
                self.missing -= len(frame.payload)
        return b""

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()
        os.close(self.master)
        os.close(self.slave)
