#!/usr/bin/env python3
"""machine_code_test.py FOLDER: what nvcc made of kernels/*.cu, read from the objects in FOLDER.

Each holds code for sm_80 and sm_90a and PTX for later GPUs; no kernel uses local memory, where registers go that do not fit; a kernel
for rows of 8 elements moves 16 bytes at once, but for single floats (log-sum-exps, norms). Skips without nvcc or cuobjdump.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ACCESS = re.compile(r"\b(LDG|STG|LDL|STL|LD|ST)\.([A-Z0-9.]*)")


def cuobjdump():
    """The program in Triton's wheel, which torch brings, or that of a toolkit, which may be too old; None without either."""
    wheels = [f"{p}/triton/backends/nvidia/bin" for p in sys.path]
    return shutil.which("cuobjdump", path=":".join([*wheels, os.environ["PATH"], "/usr/local/cuda/bin"]))


def accesses(sass):
    """{kernel: [instruction and width, such as ("LDG", "E.128")]}"""
    kernels, own = {}, None
    for line in sass.splitlines():
        if "Function :" in line:
            own = kernels.setdefault(line.split()[-1], [])
        elif own is not None and "/*" in line:
            own += ACCESS.findall(line)
    return kernels


def faults(name, kernel, found):
    vector = kernel.count("ILi8E") > 0
    for operation, kind in found:
        if operation in ("LDL", "STL"):
            yield f"{name}: {kernel} uses local memory ({operation}.{kind})"
        if vector and re.search(r"\b(U8|S8|U16|S16|64)\b", kind):
            yield f"{name}: {kernel} moves less than 16 bytes at once ({operation}.{kind})"
    for operation in ("LDG", "STG"):
        if vector and not any(o == operation and "128" in kind for o, kind in found):
            yield f"{name}: {kernel} has no {operation} of 16 bytes"


def self_test():
    good = accesses("\t\tFunction : kernelILi8E\n /*0010*/ LDG.E.128 R4, [R2] ;\n /*0020*/ LDG.E R1, [R2] ;\n /*0030*/ STG.E.128 [R2], R4 ;\n")
    assert list(faults("k", *next(iter(good.items())))) == [], good
    for bad in ("LDG.E.U16 R4, [R2]", "LDG.E.64 R4, [R2]", "STL.128 [R1], R4"):
        found = accesses(f"\t\tFunction : kernelILi8E\n /*0010*/ LDG.E.128 R4 ;\n /*0020*/ STG.E.128 R4 ;\n /*0030*/ {bad} ;\n")
        assert len(list(faults("k", *next(iter(found.items()))))) == 1, bad


def main():
    self_test()
    objects = sorted(glob.glob(sys.argv[1] + "/*.o"))
    tool = cuobjdump()
    if not objects or tool is None:
        print("skipped: " + ("no kernel was compiled (launch/setup.sh installs nvcc)" if not objects else "no cuobjdump (torch's package triton has one)"))
        return 77
    wrong = []
    sources = set()
    for path in glob.glob(ROOT + "/kernels/*.cu"):
        with open(path, encoding="utf-8") as f:
            if "__global__" in f.read():
                sources.add(os.path.basename(path)[:-3])
    missing = sources - {os.path.basename(p)[:-2] for p in objects}
    wrong += [f"kernels/{name}.cu was not compiled" for name in sorted(missing)]
    for path in objects:
        name = os.path.basename(path)
        if name[:-2] not in sources:
            continue  # it has no kernel, or its source is gone
        listed = subprocess.run([tool, "-lelf", "-lptx", path], check=True, capture_output=True, text=True).stdout
        wrong += [f"{name}: no {part}" for part in ("sm_80.cubin", "sm_90a.cubin", "sm_90.ptx") if part not in listed]
        for arch in ("sm_80", "sm_90a"):
            sass = subprocess.run([tool, "-sass", "-arch", arch, path], check=True, capture_output=True, text=True).stdout
            kernels = accesses(sass)
            if not kernels:
                wrong.append(f"{name}: no kernel for {arch}")
            for kernel, found in kernels.items():
                wrong += faults(f"{name} ({arch})", kernel, found)
    print("\n".join(wrong) if wrong else f"{len(objects)} objects: 16 bytes at once, nothing spilled")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
