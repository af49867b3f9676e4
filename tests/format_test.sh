#!/usr/bin/env bash
# Every C++ file is as clang-format 14 leaves it (launch/dev fmt). Skips without that version: others break lines differently.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! command -v clang-format-14 >/dev/null; then
  echo "skipped: no clang-format-14 (launch/setup.sh --with dev)"
  exit 77
fi
printf 'int  f( ){return 1 ;}\n' | clang-format-14 --dry-run --Werror --assume-filename=src/planted.cpp 2>/dev/null && { echo "clang-format lets everything pass"; exit 1; }
wrong=0
while IFS= read -r -d '' file; do
  clang-format-14 --dry-run --Werror "$file" 2>/dev/null || { echo "not formatted: $file" && wrong=1; }
done < <(find src tests kernels \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' \) -print0)
exit $wrong
