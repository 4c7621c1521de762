#!/usr/bin/env python3
"""Which parts of a proxy take its processor time, as a table: Weir's own modules, its libraries, the kernel by system call.

    benches/profile.py [--workload NAME] [--targets weir,nginx] [--rounds N] [--seconds N] [--functions N] [--write] [WEIR]
    benches/profile.py --case NAME [--targets weir,nginx] [--functions N] [--write] [WEIR]

With `--workload`, time: runs a workload of `benches/compare/run` with each target in turns, and samples the target with
`perf record -e cpu-clock`, the timer of the kernel, which virtual machines have, too. A table says what part takes which
share, and the processor time of an event, request or stream that this is (the share of what the workload measured
meanwhile). Sampling costs some per cent, and takes place at the end of what the kernel does with interrupts off, so the
functions of the kernel are less exact than its system calls, which are what the table has.

With `--case`, instructions in user space: runs a case of `benches/instructions.py` under valgrind, twice, and takes the
difference, so the start does not count. It is exact within 2 %, and does not depend on what else the machine does. nginx is
run as one process, and can do the cases whose route does nothing to a stream.

A function counts for the crate whose name comes first in its own name, libraries of the language left out; what the
compiler has inlined counts for the function into which it was inlined. Debian's nginx has few names of functions.
`--write` puts the table into docs/performance.md, in place of the one of the same workload or case.
Needs perf (Debian: linux-perf) or valgrind, and what `benches/compare/run` needs.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from instructions import CASES
from lockstep import CERTIFICATE, ROOT, Case, Stream

WORKLOADS = (
    "paced", "gateway", "saturation", "saturation16", "churn", "tls", "h2-clients", "h2-tls", "gzip-upstream", "plain", "upload",
    "websocket", "websocket64k",
)  # fmt: skip
# Samples for each second of processor time.
FREQUENCY = 4999
# Seconds from the start of a target until its window has begun for certain, and how much of a window is not sampled because
# of that.
WARM_UP, MARGIN = 1.2, 0.8
# The longest that a target may take to start: `benches/compare/run` may have to compile first.
PATIENCE = 600
# The document with the tables, and what encloses them there.
DOCUMENT = ROOT / "docs/performance.md"
BEGIN, END = "<!-- profile:begin -->", "<!-- profile:end -->"
# A smaller share, in per cent, is no row of its own.
LEAST = 1.0

# Crates, and what a reader calls them.
LIBRARIES = {
    "HTTP library": "hyper hyper_util h2 http http_body http_body_util httparse bytes httpdate itoa fnv atomic_waker",
    "runtime": "tokio mio tokio_util futures_util futures_core futures_channel parking_lot parking_lot_core signal_hook_registry",
    "TLS": "rustls tokio_rustls ring aws_lc_rs aws_lc_sys webpki subtle zeroize rustls_pki_types",
    "compression": "flate2 miniz_oxide zlib_rs libz_rs_sys brotli brotli_decompressor zstd zstd_safe async_compression crc32fast",
    "metrics, log, JSON": "prometheus_client tracing tracing_core tracing_subscriber serde serde_json serde_core ryu",
    "Redis client": "redis",
    "searching": "memchr aho_corasick",
}  # fmt: skip
CRATES = {crate: part for part, crates in LIBRARIES.items() for crate in crates.split()}
LANGUAGE = {"core", "alloc", "std", "__rustc", "hashbrown", "rustc_demangle", "compiler_builtins"}
# Symbols of C and assembler, in the order in which they are tried.
SYMBOLS = (
    (
        "allocator",
        # Those of jemalloc, and of libc.
        r"_?rjem_|do_rallocx|(tcache|emap|pac|extent|arena|edata|nstime|large|base|eset|san)_|round$"
        r"|(__libc_|_int_|__GI___libc_)?(malloc|calloc|realloc|free|cfree)\b|malloc_consolidate|unlink_chunk",
    ),
    ("memory: copying, comparing, clearing", r".*mem(move|cpy|set|cmp|chr|rchr|pcpy)"),
    ("clock", r".*(clock_gettime|gettimeofday)"),
    ("locks", r".*pthread_(mutex|rwlock|cond|spin)"),
    ("TLS", r"(ring_core|aws_lc|_?aes|gcm|ghash|sha\d+|chacha20|poly1305|x25519|p256|EVP_|SSL_|CRYPTO_|vpaes|bn_)"),
    ("compression", r"(inflate|deflate|adler32|crc32|ZSTD|Brotli)"),
)
# Objects whose functions are not told apart.
OBJECTS = (
    ("clock", r"\[vdso\]"),
    ("TLS", r"lib(ssl|crypto)"),
    ("compression", r"lib(z|zstd|brotli)"),
    ("libc", r"(libc|libpthread|ld-linux|libm|libgcc)"),
)
# System calls.
CALLS = {
    "send": "sendto sendmsg sendmmsg send writev write pwritev sendfile",
    "receive": "recvfrom recvmsg recv readv read preadv",
    "wait": "epoll_wait epoll_pwait epoll_pwait2 poll ppoll select",
    "connections": "accept accept4 connect close socket shutdown setsockopt getsockopt bind listen epoll_ctl getsockname "
    "getpeername fcntl ioctl",
}
CALL_PARTS = {call: part for part, calls in CALLS.items() for call in calls.split()}


def user_part(name: str, place: str) -> str:
    """Returns the part that a function in user space belongs to."""
    for crate, module in re.findall(r"(?<![\w:])([a-z_][a-z0-9_]*)::(?:_::)?<?([A-Za-z_]\w*)", name):
        if crate == "weir":
            return f"Weir: {module}"
        if crate not in LANGUAGE:
            return CRATES.get(crate, f"library: {crate}")
    for part, pattern in SYMBOLS:
        if re.match(pattern, name):
            return part
    for part, pattern in OBJECTS:
        if re.match(pattern, Path(place).name):
            return part
    if "::" in name:
        return "standard library"
    return f"{Path(place).name}'s own code"


def kernel_part(frames: list[str]) -> str:
    """Returns the part that a sample in the kernel belongs to, by its call chain, the innermost function first."""
    if any(name.startswith("exit_to_user_mode") for name in frames):
        return "kernel: another thread's turn"
    call = next((name.removeprefix("__x64_sys_") for name in frames if name.startswith("__x64_sys_")), "")
    if not call and any(name.startswith("entry_SYSCALL") for name in frames):
        # The call was inlined into the entry: the function of libc that made it follows.
        entry = next(at for at, name in enumerate(frames) if name.startswith("entry_SYSCALL"))
        call = re.sub(r"^_*(GI_+)?(libc_)?|64$", "", frames[entry + 1]) if entry + 1 < len(frames) else ""
        call = call or "entry"
    part = CALL_PARTS.get(call)
    is_socket = any("sock" in name or name.startswith(("tcp_", "inet")) for name in frames)
    if call in ("write", "read") and not is_socket:
        return "kernel: other calls"
    if part == "send" and any(name == "net_rx_action" for name in frames):
        return "kernel: send, delivery to the receiver's socket"
    if part:
        return f"kernel: {part}"
    return "kernel: other calls" if call else "kernel: interrupts"


def samples(data: Path) -> Iterator[tuple[str, str]]:
    """Yields the part and the function of each sample."""
    command = ["perf", "script", "-i", str(data), "-F", "ip,sym,dso", "--no-inline"]
    output = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout
    for sample in output.split("\n\n"):
        frames = re.findall(r"^\s*[0-9a-f]+ (.*) \(([^()]*)\)$", sample, re.MULTILINE)
        if not frames:
            continue
        # An offset follows some names.
        names = [re.sub(r"\+0x[0-9a-f]+$", "", name) for name, _ in frames]
        place = frames[0][1]
        is_kernel = place.startswith("[kernel") or place.endswith((".ko", ".ko.xz"))
        yield (kernel_part(names) if is_kernel else user_part(names[0], place)), names[0]


def parents() -> dict[int, tuple[int, int]]:
    """Returns the parent and the process group of each process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            found[int(folder.name)] = int(fields[1]), int(fields[2])
    return found


def target_of(compare: subprocess.Popen) -> list[int]:
    """Waits for a target of the comparison to have run for a while, and returns its processes. It has a group of its own."""
    seen: dict[int, float] = {}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and compare.poll() is None:
        tree = parents()
        for process, (parent, group) in tree.items():
            if process != group or parent not in tree:
                continue
            while parent in tree and parent != compare.pid:
                parent = tree[parent][0]
            if parent == compare.pid and "redis-server" not in Path(f"/proc/{process}/comm").read_text():
                since = seen.setdefault(process, time.monotonic())
                if time.monotonic() - since > WARM_UP:
                    return [each for each, (_, of) in tree.items() if of == process]
        time.sleep(0.02)
    raise SystemExit("no target was started, see above")


def sampled(weir: str, workload: str, target: str, seconds: float, folder: Path) -> tuple[Counter, dict[str, float]]:
    """Samples one run of a workload. Returns how many samples each part and function has, and what the run measured."""
    raw, data = folder / "raw.jsonl", folder / "perf.data"
    run = [str(ROOT / "benches/compare/run"), "--weir", weir, "--rounds", "1", "--seconds", str(seconds)]
    run += ["--workloads", workload, "--targets", target, "--raw", str(raw)]
    with subprocess.Popen(run, stdout=subprocess.DEVNULL, text=True) as compare:
        processes = ",".join(map(str, target_of(compare)))
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-g", "-o", str(data), "-p", processes]
        # On a busy machine the window may be over before: then perf ends with the target, and not with success.
        subprocess.run([*record, "--", "sleep", str(seconds - MARGIN)], check=False)
    if compare.returncode:
        raise SystemExit("the comparison failed, see above")
    row = json.loads(raw.read_text().splitlines()[-1])
    if row["errors"]:
        print(f"{workload}, {target}: {row['errors']}", file=sys.stderr)
    found = Counter(samples(data))
    if not found:
        raise SystemExit("perf took no samples, see above: it needs root, or /proc/sys/kernel/perf_event_paranoid of 1 or less")
    return found, row["values"]


class Nginx(Stream):
    """nginx in place of Weir, as `benches/compare` configures it, but one process."""

    READY = 'using the "epoll" event method'

    def command(self, program: str) -> list[str]:
        client = self.case.client
        listen = f"127.0.0.1:{self.port}" + {"tls": " ssl", "h2": " http2", "h2-tls": " ssl http2"}.get(client, "")
        tls = f"ssl_certificate {CERTIFICATE['cert']}; ssl_certificate_key {CERTIFICATE['key']};" if "tls" in client else ""
        folder = self.folder.name
        file = Path(folder) / "nginx.conf"
        file.write_text(f"""daemon off; master_process off; pid {folder}/pid; error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream model {{ server {self.upstream.removeprefix("http://")}; keepalive 64; keepalive_requests 1000000; }}
    map $http_upgrade $upgrade {{ default upgrade; '' ''; }}
    server {{
        listen {listen}; ssl_protocols TLSv1.3; {tls} {"gunzip on;" if client == "gzip" else ""}
        client_max_body_size 0; proxy_request_buffering off;
        location / {{
            proxy_pass http://model; proxy_http_version 1.1; proxy_buffering off;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgrade;
        }}
    }}
}}
""")
        return [program, "-p", folder, "-c", str(file), "-e", "stderr"]


def counts(profile: str) -> Counter:
    """Returns the instructions of each function itself, by its part and name, from a profile of callgrind."""
    names: dict[tuple[str, str], str] = {}
    found: Counter = Counter()
    place, key, is_call = "", ("", ""), False

    def named(kind: str, number: str, name: str) -> str:
        return names.setdefault((kind, number), name) if name else names[kind, number]

    for line in profile.splitlines():
        if match := re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$", line):
            is_callee, kind, number, name = match.groups()
            known = named(kind, number, name)
            if is_callee:
                continue
            if kind == "ob":
                place = known
            else:
                # Recursive functions have a number at their end.
                name = re.sub(r"'\d+$", "", known)
                key = user_part(name, place), name
        elif line.startswith("calls="):
            is_call = True
        elif match := re.match(r"[+*\d-]\S* (\d+)$", line):
            # After a call stands what the callee took.
            found[key] += 0 if is_call else int(match[1])
            is_call = False
    return found


def counted(program: str, kind: type[Stream], case: Case) -> Counter:
    """Returns the instructions of an event, by part and function."""
    totals = []
    for writes in case.writes:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            stream = kind(program, ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"], case)
            stream.run(writes)
            stream.stop()
            totals.append(counts(out.read_text(errors="replace")))
    events = (case.writes[1] - case.writes[0]) * case.batch
    return Counter({key: (totals[1][key] - totals[0][key]) / events for key in totals[1]})


def table(unit: str, columns: dict[str, Counter], totals: dict[str, float]) -> str:
    """Returns the parts: for each target what they take, and their share."""
    parts = {target: Counter() for target in columns}
    for target, column in columns.items():
        whole = sum(column.values())
        for (part, _), number in column.items():
            parts[target][part] += 100 * number / whole
        small = [part for part, share in parts[target].items() if share < LEAST and part != "others"]
        for part in small:
            parts[target]["others"] += parts[target].pop(part)
    order = Counter()
    for target in columns:
        order |= parts[target]
    digits = 0 if unit == "instructions" else 2
    lines = ["| part | " + " | ".join(f"{target}: {unit} | %" for target in columns) + " |", "|---|" + "--:|--:|" * len(columns)]
    # The kernel first, then what is large.
    for part in sorted(order, key=lambda part: (part == "others", not part.startswith("kernel"), -order[part])):
        cells = []
        for target in columns:
            share = parts[target][part]
            cells += [f"{share * totals[target] / 100:,.{digits}f}", f"{share:.1f}"] if share else ["-", "-"]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    is_time = any(part.startswith("kernel") for part in order)
    for name in ("kernel", "user space") if is_time else ():
        cells = []
        for target in columns:
            share = sum(share for part, share in parts[target].items() if part.startswith("kernel") == (name == "kernel"))
            cells += [f"{share * totals[target] / 100:,.{digits}f}", f"{share:.1f}"]
        lines.append(f"| **{name}** | {' | '.join(cells)} |")
    lines.append("| **together** | " + " | ".join(f"{totals[target]:,.{digits}f} | 100" for target in columns) + " |")
    return "\n".join(lines)


def write(heading: str, text: str) -> None:
    """Puts a section into the document, in place of the one with the same heading."""
    document = DOCUMENT.read_text()
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise SystemExit(f"{DOCUMENT} must have one {BEGIN} and one {END}")
    before, rest = document.split(BEGIN)
    part, after = rest.split(END)
    sections = dict(each.split("\n", 1) for each in part.strip().split("#### ")[1:])
    sections[heading] = f"\n{text}\n"
    part = "\n\n".join(f"#### {name}\n\n{section.strip()}" for name, section in sections.items())
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{part}\n\n{END}{after}")


def count(options: argparse.Namespace, weir: str, targets: list[str]) -> tuple[str, str, dict[str, Counter]]:
    """Counts the instructions of a case. Returns a heading, a text with the table, and the counts of functions."""
    name, case = options.case, CASES[options.case]
    columns = {}
    for target in targets:
        if target == "weir":
            columns[target] = counted(weir, Stream, case)
        elif target == "nginx" and case.reply == "same" and case.client != "bridge":
            path = os.environ.get("PATH", "") + ":/usr/sbin"
            columns[target] = counted(shutil.which("nginx", path=path) or "nginx", Nginx, case)
        else:
            raise SystemExit(f"{target} cannot be counted with this case: weir can, and nginx if the route changes no stream")
    command = f'`benches/profile.py --case "{name}"{"" if targets == ["weir", "nginx"] else " --targets " + ",".join(targets)}`'
    totals = {target: sum(column.values()) for target, column in columns.items()}
    return f"Instructions: {name}", f"{command}\n\n{table('instructions', columns, totals)}", columns


def sample(options: argparse.Namespace, weir: str, targets: list[str]) -> tuple[str, str, dict[str, Counter]]:
    """Samples the time of a workload. Returns a heading, a text with the table, and the samples of functions."""
    columns: dict[str, Counter] = {target: Counter() for target in targets}
    costs: dict[str, list[float]] = {target: [] for target in targets}
    unit = ""
    for _ in range(options.rounds):
        for target in targets:
            with tempfile.TemporaryDirectory() as folder:
                found, values = sampled(weir, options.workload, target, options.seconds, Path(folder))
            columns[target] += found
            unit, cost = next((name, value) for name, value in values.items() if name.startswith("CPU us"))
            costs[target].append(cost)
    command = f"benches/profile.py --workload {options.workload} --rounds {options.rounds} --seconds {options.seconds:g}"
    command += "" if targets == ["weir", "nginx"] else f" --targets {','.join(targets)}"
    taken = ", ".join(f"{sum(column.values()):,} of {target}" for target, column in columns.items())
    totals = {target: statistics.median(cost) for target, cost in costs.items()}
    text = f"`{command}`; samples: {taken}.\n\n{table(unit, columns, totals)}"
    return f"Time: {options.workload}", text, columns


def functions(columns: dict[str, Counter], number: int) -> None:
    for target, column in columns.items():
        whole = sum(column.values())
        print(f"\n{target}:")
        for (part, name), count in column.most_common(number):
            print(f"{100 * count / whole:6.2f} %  {part:28}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--workload", default="paced", choices=WORKLOADS, metavar="NAME", help=", ".join(WORKLOADS))
    what.add_argument("--case", choices=list(CASES), metavar="NAME", help="; ".join(CASES))
    parser.add_argument("--targets", default="weir,nginx", metavar="NAMES", help="those of benches/compare/run, by comma")
    parser.add_argument("--rounds", type=int, default=3, help="runs of a workload with each target, in turns")
    parser.add_argument("--seconds", type=float, default=3, help="the window of a run")
    parser.add_argument("--functions", type=int, default=0, metavar="COUNT", help="also print the functions that take most")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("weir", nargs="?", default=str(ROOT / "target/release/weir"), help="the program")
    options = parser.parse_args()
    weir, targets = str(Path(options.weir).resolve()), options.targets.split(",")
    tool = "valgrind" if options.case else "perf"
    if not shutil.which(tool):
        raise SystemExit(f"there is no {tool}: install Debian's package {'valgrind' if options.case else 'linux-perf'}")
    if not Path(weir).is_file():
        raise SystemExit(f"there is no program {weir}: cargo build --release, or name another one")
    if options.seconds <= 2 * MARGIN:
        parser.error(f"a window of {options.seconds} s is too short, take at least 2")
    measure = count if options.case else sample
    heading, text, columns = measure(options, weir, targets)
    print(f"{heading}\n\n{text}")
    if options.functions:
        functions(columns, options.functions)
    if options.write:
        write(heading, text)


if __name__ == "__main__":
    main()
