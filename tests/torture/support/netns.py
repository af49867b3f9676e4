"""Three hosts h1, h2, h3 with links of their own on this machine (cluster/netns), as a test uses them."""
import fcntl
import os
import shlex
import signal
import subprocess

ROOT = os.environ["DMOERM_ROOT"]
NET = f"{ROOT}/cluster/netns/net.sh"
NETWORK = "10.78.0.0/24"
HOSTS = ["h1", "h2", "h3"]


class Hosts:
    """Exist while the object is used with `with`."""

    def __enter__(self):
        self._lock = open("/tmp/dmoerm-netns.lock", "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # one at a time on a machine
        up = subprocess.run([NET, "up"])
        if up.returncode != 0:
            raise SystemExit(up.returncode)
        return self

    def __exit__(self, *_):
        subprocess.run([NET, "down"], check=False)
        self._lock.close()

    def do(self, *words):
        subprocess.run([NET, *words], check=True)

    def start(self, host, words, log, environment):
        """Start a command on a host; mpirun there reaches the others. @return the process"""
        more = {"OMPI_MCA_plm_rsh_agent": f"{ROOT}/cluster/netns/rsh.sh", "OMPI_MCA_btl_tcp_if_include": NETWORK, "OMPI_MCA_oob_tcp_if_include": NETWORK}
        return subprocess.Popen([NET, "run", host, shlex.join(words)], env=dict(os.environ, **more, **environment), stdout=log, stderr=subprocess.STDOUT,
                                stdin=subprocess.DEVNULL, start_new_session=True)

    def processes(self, host):
        """Ids of the processes on a host, without zombies, which nobody may ever collect here."""
        found = subprocess.run(["ip", "netns", "pids", f"dmoerm-{host}"], capture_output=True, text=True, check=True).stdout.split()
        return [pid for pid in found if _alive(pid)]

    def sent_bytes(self, host):
        """Bytes that a host has sent over its link."""
        with open(f"/sys/class/net/dmoerm-{host}/statistics/rx_bytes") as f:  # our end receives what the host sends
            return int(f.read())

    def end(self, process):
        """End everything on all hosts, and collect `process`."""
        self.do("kill")
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
