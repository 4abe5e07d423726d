"""Boots a virtual machine that has real serial drivers, and runs the tests of this folder in it.

    python -m tests.hardware.guest [--kernel FOLDER] [pytest arguments]

The machine is QEMU with a Debian kernel. Its root is the root of this host, read-only, so the tests run with the same
Python and the same extension. It has a 16550A (`/dev/ttyS1`) and an FTDI adapter on USB (`/dev/ttyUSB0`), both driven
by the drivers of the kernel; `Lab` is at their far ends and at the plug of the adapter. Two more 16550A (`/dev/ttyS4`,
`/dev/ttyS5`) are joined by a wire. The tests in the machine tell the lab what to do over `/dev/ttyS2`, one line each,
and it answers with one line:

    echo uart|usb           the far end sends back whatever it gets
    send uart|usb HEX       the far end sends these bytes
    break uart|usb          the far end sends a break
    unplug, plug            the adapter is pulled out, put in again

Needs the Debian packages qemu-system-x86 and busybox-static, and `--kernel`, or $FIELDRIG_GUEST_KERNEL: a folder in
which a Debian kernel package was unpacked (`apt-get download linux-image-6.1.0-..-amd64; dpkg -x *.deb FOLDER`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "xhci-pci", "ftdi_sio")
FTDI = {"driver": "usb-serial", "id": "ftdi", "chardev": "usb", "serial": "FT4XK2", "bus": "xhci.0"}
KERNEL = "console=ttyS0 quiet panic=-1 mitigations=off"
LIMIT = 600
"""Seconds for everything: without KVM a machine boots in half a minute, on a busy host in two."""

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /host
/bin/busybox mount -t proc proc /proc
for module in {modules}; do /bin/busybox insmod /modules/$module.ko || echo "GUEST: no $module"; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 \\
    host /host || echo "GUEST: no root"
for place in proc:proc sys:sysfs dev:devtmpfs tmp:tmpfs run:tmpfs; do
    /bin/busybox mount -t ${{place#*:}} none /host/${{place%%:*}}
done
/bin/busybox mkdir -p /host/dev/pts /host/dev/shm
/bin/busybox mount -t devpts devpts /host/dev/pts
/bin/busybox mount -t tmpfs none /host/dev/shm
/bin/busybox ip link set lo up 2>/dev/null
/bin/busybox stty -F /dev/ttyS0 -onlcr 2>/dev/null
/bin/busybox chroot /host /bin/sh -c '{command}'
echo "GUEST: exit $?"
/bin/busybox poweroff -f
"""


class Lab:
    """The far ends of the ports, and the hand that holds the plug."""

    def __init__(self, folder: Path) -> None:
        self._far = {name: connect(folder / name) for name in ("uart", "usb")}
        self._echoes = dict.fromkeys(self._far, False)
        self._machine = Machine(folder / "machine")
        for name in self._far:
            threading.Thread(target=self._hear, args=(name,), daemon=True).start()
        self._orders = connect(folder / "orders")
        threading.Thread(target=self._obey, daemon=True).start()

    def _hear(self, name: str) -> None:
        while data := self._far[name].recv(4096):
            if self._echoes[name]:
                # A device takes its time; an adapter that nobody calibrated holds bytes back for up to 20 ms.
                threading.Event().wait(0.05)
                self._far[name].sendall(data)

    def _obey(self) -> None:
        for line in self._orders.makefile("r", newline="\n"):
            try:
                self._do(line.split())
                answer = "ok"
            except (ValueError, KeyError, OSError) as error:
                answer = f"{type(error).__name__}: {error}"
            self._orders.sendall(f"{answer}\n".encode())

    def _do(self, order: list[str]) -> None:
        match order:
            case ["echo", name]:
                self._echoes[name] = True
            case ["send", name, data]:
                self._far[name].sendall(bytes.fromhex(data))
            case ["break", name]:
                self._machine.do("chardev-send-break", id=name)
            case ["unplug"]:
                self._machine.do("device_del", id="ftdi")
                self._machine.wait_for("DEVICE_DELETED")
            case ["plug"]:
                self._machine.do("device_add", **FTDI)
            case _:
                raise ValueError(f"what is {' '.join(order)!r}?")


class Machine:
    """QMP."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._lines = self._socket.makefile("r")
        self._events: list[str] = []
        json.loads(self._lines.readline())
        self.do("qmp_capabilities")

    def do(self, command: str, **arguments: str) -> None:
        """Raises: OSError: the machine refused."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            found = self._read()
            if "error" in found:
                raise OSError(found["error"]["desc"])
            if "return" in found:
                return

    def wait_for(self, event: str) -> None:
        while event not in self._events:
            self._read()
        self._events.remove(event)

    def _read(self) -> dict:
        found = json.loads(self._lines.readline())
        if "event" in found:
            self._events.append(found["event"])
        return found


def connect(path: Path) -> socket.socket:
    """QEMU listens before it runs the machine; only its own start has to be waited for."""
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(None)
    for _ in range(LIMIT * 10):
        if end.connect_ex(str(path)) == 0:
            return end
        threading.Event().wait(0.1)
    raise OSError(f"QEMU does not listen at {path}")


def archive(files: dict[str, bytes]) -> bytes:
    """An initramfs of executable files: cpio, `newc` (the initramfs buffer format of the kernel's documentation)."""
    packed = bytearray()
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    entries = [(name, 0o040755, b"") for name in folders] + [(name, 0o100755, data) for name, data in files.items()]
    entries.append(("dev", 0o040755, b""))
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        packed += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        packed += bytes(-len(packed) % 4) + data
        packed += bytes(-len(packed) % 4)
    return bytes(packed)


def modules(kernel: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """The modules with what they depend on, in the order in which they have to be loaded."""
    known = {path.stem.replace("-", "_"): path for path in kernel.glob("lib/modules/*/kernel/**/*.ko")}
    loaded: set[str] = set()

    def load(name: str) -> Iterator[tuple[str, bytes]]:
        name = name.replace("-", "_")
        if name in loaded:
            return
        loaded.add(name)
        if name not in known:
            raise SystemExit(f"guest: the kernel in {kernel} has no module {name}")
        data = known[name].read_bytes()
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for needed in filter(None, (depends[1] if depends else b"").decode().split(",")):
            yield from load(needed)
        yield name, data

    for name in wanted:
        yield from load(name)


def machine(kernel: Path, folder: Path, arguments: list[str]) -> list[str]:
    """The command line of QEMU."""
    words = " ".join(f'"{word}"' for word in [sys.executable, "-m", "pytest", "tests/hardware", *arguments])
    command = (
        f'cd "{REPOSITORY}" && export FIELDRIG_GUEST=1 HOME=/tmp PYTHONDONTWRITEBYTECODE=1'
        f' PYTHONPATH="{REPOSITORY}/python"'
        f" PATH=/usr/bin:/bin:/usr/sbin:/sbin; {words} -p no:cacheprovider --color=no -q"
    )
    found = dict(modules(kernel, MODULES))
    files = {f"modules/{name}.ko": data for name, data in found.items()}
    files["bin/busybox"] = Path(tool("busybox", "busybox-static")).read_bytes()
    files["init"] = INIT.format(modules=" ".join(found), command=command).encode()
    (folder / "initramfs").write_bytes(archive(files))
    far = [("uart", "uart"), ("orders", "orders")]
    ends = [option for name, file in [*far, ("usb", "usb")] for option in ("-chardev", socket_at(name, folder / file))]
    usb = ",".join([FTDI["driver"], *(f"{key}={value}" for key, value in FTDI.items() if key != "driver")])
    kvm = os.access("/dev/kvm", os.W_OK) and re.search(r"\b(vmx|svm)\b", Path("/proc/cpuinfo").read_text()) is not None
    return [
        tool("qemu-system-x86_64", "qemu-system-x86"),
        *("-accel", "kvm" if kvm else "tcg", "-cpu", "host" if kvm else "max", "-m", "1024", "-no-reboot"),
        *("-display", "none", "-nodefaults", "-kernel", str(next(kernel.glob("boot/vmlinuz-*")))),
        *("-initrd", str(folder / "initramfs"), "-append", f"{KERNEL} 8250.nr_uarts=6"),
        *("-serial", "stdio", *ends, "-serial", "chardev:uart", "-serial", "chardev:orders"),
        *("-chardev", socket_at("west", folder / "wire"), "-chardev", f"socket,id=east,path={folder / 'wire'}"),
        *("-device", "pci-serial-2x,chardev1=west,chardev2=east"),
        *("-device", "qemu-xhci,id=xhci", "-device", usb),
        *("-qmp", f"unix:{folder / 'machine'},server=on,wait=off"),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
    ]


def socket_at(name: str, path: Path) -> str:
    return f"socket,id={name},path={path},server=on,wait=off"


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"guest: {name} is missing: install the Debian package {package}")
    return found


def main() -> int:
    """Gives the exit code of pytest in the machine."""
    parser = argparse.ArgumentParser(description="Runs tests/hardware in a virtual machine with real serial drivers.")
    parser.add_argument("--kernel", default=os.environ.get("FIELDRIG_GUEST_KERNEL"), help="an unpacked kernel package")
    options, arguments = parser.parse_known_args()
    if not options.kernel or not list(Path(options.kernel).glob("boot/vmlinuz-*")):
        parser.error("--kernel: name the folder in which a Debian kernel package was unpacked")
    with tempfile.TemporaryDirectory(prefix="guest-") as folder:
        command = machine(Path(options.kernel), Path(folder), arguments)
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
        )
        timer = threading.Timer(LIMIT, running.kill)
        timer.start()
        try:
            Lab(Path(folder))
            code = 1
            for line in running.stdout or ():
                ended = re.match(r"GUEST: exit (\d+)", line)
                code = int(ended[1]) if ended else code
                print(line, end="", flush=True)
            return code
        finally:
            timer.cancel()
            running.kill()
            running.wait()


if __name__ == "__main__":
    sys.exit(main())
