#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes test vectors of applegpu's emulator, and compares the model with them.

applegpu (github.com/dougallj/applegpu) emulates many instructions in Python, and its emulator was validated on hardware.
This takes encodings from lists, changes a few bits of most of them, runs each on a random state of registers, and
prints the lines that src/exec/tests.rs reads: encoding, seed of the state, hash of what is left.

    tests/applegpu.py ~/applegpu --count 20000 --check

Instructions that the emulator does not execute, or whose encoding it finds invalid, are passed over; with --check, so are
encodings that the model refuses, after all are counted.
"""
import argparse
import collections
import contextlib
import io
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
U64 = (1 << 64) - 1
SPECIAL = [
    0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345,
    1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x4f000000, 0x3f000000,
]


def mix(x):
    x = (x + 0x9e3779b97f4a7c15) & U64
    x = ((x ^ (x >> 30)) * 0xbf58476d1ce4e5b9) & U64
    x = ((x ^ (x >> 27)) * 0x94d049bb133111eb) & U64
    return x ^ (x >> 31)


def value(seed, register, lane):
    """What a register holds at first: the same as value() of src/exec/tests.rs."""
    x = mix(seed << 32 | register << 8 | lane)
    v = x & 0xffffffff
    kind = (x >> 32) & 7
    if kind < 2:
        return v
    if kind == 2:
        return v & 0xff
    if kind == 3:
        return SPECIAL[(v >> 8) & 15]
    if kind == 4:
        return (v & 0x807fffff) | ((120 + ((v >> 23) & 15)) << 23)
    if kind == 5:
        return (v & 0x83ff83ff) | ((14 + ((v >> 10) & 3)) << 10) | ((14 + ((v >> 26) & 3)) << 26)
    return v & (0x003f003f if kind == 6 else 0x83ff83ff)


def import_emulator(path):
    sys.path.insert(0, path)
    import applegpu
    import fma

    # The emulator multiplies by adding +0, which makes all zeroes positive; a product has the sign of its factors.
    def product(single):
        def exec_thread(self, instr, corestate, thread):
            fields = dict(self.decode_fields(instr))
            a = self.operands['A'].evaluate_thread_float(fields, corestate, thread)
            b = self.operands['B'].evaluate_thread_float(fields, corestate, thread)
            result = fma.bfma64(a, b, 1 << 63, rounding=fma.ROUND_TO_ODD)
            if single:
                result = fma.f32_to_f64(fma.f64_to_f32(result, ftz=True))
            self.saturate_and_set_thread_result(fields, corestate, thread, result)
        return exec_thread

    applegpu.FMul32InstructionDesc.exec_thread = product(True)
    applegpu.FMul16InstructionDesc.exec_thread = product(False)
    return applegpu


def prepare(emulator, seed):
    uniforms = emulator.Uniforms()
    uniforms.reg16s = [0] * 512
    for i in range(256):
        uniforms.set_reg32(i, value(seed, 1000 + i, 0))
    state = emulator.CoreState(num_registers=128, uniforms=uniforms)
    for lane in range(32):
        for register in range(128):
            state.set_reg32(register, lane, value(seed, register, lane))
        counter = [0, 0, 0, 0, 0, 1, 2, 3][mix(seed << 32 | 2000 << 8 | lane) & 7]
        state.set_reg16(0, lane, counter)
        state.exec[lane] = counter == 0
    return state


def fnv(state):
    result = 0xcbf29ce484222325
    words = (state.get_reg32(register, lane) for register in range(128) for lane in range(32))
    for word in words:
        result = ((result ^ word) * 0x100000001b3) & U64
    for lane in range(32):
        result = ((result ^ (1 if state.exec[lane] else 0)) * 0x100000001b3) & U64
    return result


def execute(emulator, code, seed):
    """The hash of the state that an instruction leaves; none if the emulator does not know it."""
    word = int.from_bytes(code, 'little')
    desc = emulator.get_instruction_descriptor(word)
    if desc is None or desc.decode_size(word) != len(code):
        return None
    # Special registers are the launch's, not the state's.
    if not hasattr(desc, 'exec') or desc.name == 'get_sr':
        return None
    state = prepare(emulator, seed)
    try:
        # It prints what it multiplies.
        with contextlib.redirect_stdout(io.StringIO()):
            desc.exec(word, state)
    except (AssertionError, NotImplementedError, LookupError, AttributeError, TypeError, ArithmeticError, ValueError):
        return None
    return fnv(state)


def read_pool(emulator, lists):
    """Encodings by what the emulator calls them, so that rare ones come as often as common ones."""
    pool = collections.defaultdict(list)
    for path in lists:
        with open(path) as file:
            for line in file:
                words = line.split()
                if words and not line.startswith('#'):
                    code = bytes.fromhex(words[0])
                    desc = emulator.get_instruction_descriptor(int.from_bytes(code, 'little'))
                    if hasattr(desc, 'exec'):
                        pool[desc.name, len(code)].append(code)
    return [pool[key] for key in sorted(pool)]


def change(code, choice):
    code = bytearray(code)
    if choice.random() < 0.7:
        for _ in range(choice.randrange(1, 4)):
            code[choice.randrange(1, len(code))] ^= 1 << choice.randrange(8)
    return bytes(code)


def make(emulator, pool, count, seed):
    choice = random.Random(seed)
    known = list(pool)
    failures = collections.Counter()
    lines = []
    while len(lines) < count and known:
        codes = choice.choice(known)
        code = change(choice.choice(codes), choice)
        state = choice.randrange(1 << 16)
        result = execute(emulator, code, state)
        if result is None:
            failures[id(codes)] += 1
            # Nothing of this kind is ever executed.
            if failures[id(codes)] == 60:
                known = [other for other in known if other is not codes]
            continue
        failures[id(codes)] = 0
        lines.append(f'{code.hex()} {state:04x} {result:016x}\n')
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('applegpu', help='a checkout of applegpu')
    parser.add_argument('--count', type=int, default=1000, help='vectors to make')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--instructions', action='append', default=[], help='more encodings: one at the start of each line')
    parser.add_argument('--check', action='store_true', help='compare the model with them, instead of printing them')
    args = parser.parse_args()
    lists = [os.path.join(HERE, name) for name in ('instructions.txt', 'mesa-cases.txt')]
    emulator = import_emulator(args.applegpu)
    pool = read_pool(emulator, lists + args.instructions)
    lines = make(emulator, pool, args.count, args.seed)
    if not args.check:
        sys.stdout.writelines(lines)
        return 0
    with tempfile.NamedTemporaryFile('w', suffix='.txt') as file:
        file.writelines(lines)
        file.flush()
        command = ['cargo', 'test', '-q', '-p', 'vagx-gpu', '--lib', 'more_vectors']
        return subprocess.run(command, cwd=HERE, env=dict(os.environ, VAGX_EXEC_VECTORS=file.name)).returncode


if __name__ == '__main__':
    sys.exit(main())
