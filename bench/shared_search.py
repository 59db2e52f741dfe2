"""One search on PostgreSQL by one process and by two (one leads and works, one works), one thread each: wall time, processor time, same bytes.

    python3 bench/shared_search.py target/release/lossmith DATA ROUNDS [KEY=VALUE ...]

Starts a private server in a temporary folder (as user postgres where it runs as root). The rounds are interleaved.
"""

import glob
import os
import pathlib
import pwd
import resource
import socket
import subprocess
import sys
import tempfile
import time

program, data, rounds, sets = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
ENVIRONMENT = {**os.environ, "RAYON_NUM_THREADS": "1"}


def as_server():
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)


def start_server(folder):
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    subprocess.run(
        [f"{BIN}/initdb", "--auth=trust", "--username=lossmith", "--no-locale", "--encoding=UTF8", "-D", f"{folder}/data"],
        check=True, capture_output=True, preexec_fn=as_server, cwd="/",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    server = subprocess.Popen(
        [f"{BIN}/postgres", "-D", f"{folder}/data", "-p", str(port), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=as_server, cwd="/",
    )
    while subprocess.run([f"{BIN}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode != 0:
        time.sleep(0.1)
    return server, port


def search(folder, url, workers):
    run = f"{folder}/{url.rsplit('#')[-1]}"
    command = [program, "-q", "search", "classifier", "--data", data, "--out", run, "--study", url]
    for assignment in sets:
        command += ["--set", assignment]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    leader = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    others = []
    for _ in range(workers - 1):
        while not os.path.exists(f"{run}/run.json"):
            time.sleep(0.02)
        others.append(subprocess.Popen(
            [program, "-q", "worker", "--study", url, "--data", data], env=ENVIRONMENT, stdout=subprocess.DEVNULL))
    assert leader.wait() == 0
    wall = time.monotonic() - begun
    assert all(other.wait() == 0 for other in others)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, pathlib.Path(run, "result.json").read_bytes()


folder = tempfile.mkdtemp()
os.chmod(folder, 0o755)
server, port = start_server(folder)
try:
    ratios = []
    for number in range(rounds):
        url = f"postgres://lossmith@127.0.0.1:{port}/postgres#round-{number}"
        one, two = (search(folder, f"{url}-{workers}", workers) for workers in (1, 2))
        assert one[2] == two[2], "another result"
        ratios.append(one[0] / two[0])
        print(
            f"round {number}: one process {one[0]:.1f} s ({one[1]:.1f} s of processor), two {two[0]:.1f} s ({two[1]:.1f} s): "
            f"{ratios[-1]:.2f} times the trainings an hour; the same bytes; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    print(f"median {sorted(ratios)[len(ratios) // 2]:.2f}")
finally:
    server.kill()
