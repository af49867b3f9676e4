#!/usr/bin/env python3
"""image_files_test.py: the image of cluster/apptainer/dmoerm.def holds every file that a build without tests reads."""
import glob
import os
import re
import unittest

ROOT = os.environ["DMOERM_ROOT"]


def text_of(*names):
    texts = []
    for name in names:
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            texts.append(file.read())
    return "\n".join(texts)


class Image(unittest.TestCase):
    def test_the_build_finds_its_files(self):
        files = re.search(r"^%files\n((?:    .*\n)+)", text_of("cluster/apptainer/dmoerm.def"), re.MULTILINE)[1]
        copied = [line.split()[0] for line in files.splitlines()]
        build = text_of("CMakeLists.txt", *(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, "src", "cmake", "*.cmake"))))
        read = set(re.findall(r"\$\{CMAKE_SOURCE_DIR\}/([\w./-]+[\w-])", build))
        for arguments in re.findall(r"^embed\((.*)\)$", build, re.MULTILINE):
            read |= {word for word in arguments.split() if os.path.exists(os.path.join(ROOT, word))}
        self.assertIn("kernels", {path.split("/")[0] for path in read})
        absent = [path for path in sorted(read) if not any(path == one or path.startswith(one + "/") for one in copied)]
        self.assertEqual(absent, [])
        self.assertEqual([one for one in copied if not os.path.exists(os.path.join(ROOT, one))], [])


if __name__ == "__main__":
    unittest.main()
