#!/bin/sh
# Installs Vigil from this bundle, without the internet. PREFIX (default /opt/vigil) gets
#   releases/VERSION/   a Python environment of its own
#   current             a link to the release in use; previous: the one before
# install.sh --rollback puts `current` back to `previous`. Data folders are not touched; after a
# rollback over a migration, restore the backup that was made before the update.
set -eu
PREFIX="${PREFIX:-/opt/vigil}"
PYTHON="${PYTHON:-python3}"
HERE="$(cd "$(dirname "$0")" && pwd)"

link() {
    ln -s "$1" "$PREFIX/.$2.$$"
    mv -T "$PREFIX/.$2.$$" "$PREFIX/$2"
}

if [ "${1:-}" = "--rollback" ]; then
    if [ ! -L "$PREFIX/previous" ]; then
        echo "install.sh: $PREFIX/previous: there is no release to go back to" >&2
        exit 1
    fi
    now="$(readlink "$PREFIX/current")"
    link "$(readlink "$PREFIX/previous")" current
    link "$now" previous
    echo "current is $(readlink "$PREFIX/current")"
    exit 0
fi

cd "$HERE"
if ! sha256sum --check --quiet SHA256SUMS; then
    echo "install.sh: the bundle is damaged; nothing was installed" >&2
    exit 1
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "install.sh: Python 3.11 or newer is needed; set PYTHON" >&2
    exit 1
}
VERSION="$(cat VERSION)"
RELEASE="$PREFIX/releases/$VERSION"
mkdir -p "$PREFIX/releases"
rm -rf "$RELEASE.part"
"$PYTHON" -m venv "$RELEASE.part"
"$RELEASE.part/bin/python" -m pip install --quiet --disable-pip-version-check --no-index \
    --find-links wheels --require-hashes -r runtime.txt
"$RELEASE.part/bin/python" -m pip install --quiet --disable-pip-version-check --no-index \
    --no-deps vigil-wheel/*.whl
rm -rf "$RELEASE"
mv "$RELEASE.part" "$RELEASE"
# The environment was made under another name: its scripts begin with that name.
find "$RELEASE/bin" -type f -exec sed -i "1s|$RELEASE.part|$RELEASE|" {} +
if [ -L "$PREFIX/current" ] && [ "$(readlink "$PREFIX/current")" != "releases/$VERSION" ]; then
    link "$(readlink "$PREFIX/current")" previous
fi
link "releases/$VERSION" current
echo "Vigil $VERSION is installed; current is $(readlink "$PREFIX/current")"
