#!/usr/bin/env bash
# Installs scopewatch as a systemd service, or takes it away again. Asks nothing, says each thing it does.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

# a path as the caller means it: relative to where the script was called
absolute() {
    case $1 in /* | "") echo "$1" ;; *) echo "$here/$1" ;; esac
}

usage() {
    cat <<'USAGE'
Usage: scripts/install.sh [--binary FILE] [--prefix DIR] [--dry-run]
       scripts/install.sh --uninstall [--purge] [--prefix DIR] [--dry-run]

  --binary FILE  the program to install [default: target/release/scopewatch]
  --prefix DIR   the program goes to DIR/bin [default: /usr/local]
  --uninstall    takes away the program and the service; keeps configuration, ledger, reports and logs
  --purge        with --uninstall: takes those away, too, and the user
  --dry-run      says what would be done, does nothing

With DESTDIR=FOLDER in the environment everything goes below FOLDER, and neither root nor systemd is needed: for
packages, and for a trial.
USAGE
}

binary= prefix=/usr/local uninstall= purge= dry=
while [ $# -gt 0 ]; do
    case $1 in
        --binary | --prefix)
            [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; exit 2; }
            case $1 in --binary) binary=$2 ;; *) prefix=$2 ;; esac
            shift ;;
        --uninstall) uninstall=yes ;;
        --purge) purge=yes ;;
        --dry-run) dry=yes ;;
        -h | --help) usage; exit 0 ;;
        *) echo "error: unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
[ -z "$purge" ] || [ -n "$uninstall" ] || { echo "error: --purge goes with --uninstall" >&2; exit 2; }
case $prefix in /*) ;; *) echo "error: --prefix $prefix is not an absolute path" >&2; exit 2 ;; esac
case $prefix in *[!A-Za-z0-9/._-]*) echo "error: --prefix $prefix: expected letters, digits and / . _ - only" >&2; exit 2 ;; esac

binary=$(absolute "$binary")
dest=$(absolute "${DESTDIR:-}")
dest=${dest%/}
program=$prefix/bin/scopewatch
unit=/etc/systemd/system/scopewatch.service
users=/etc/sysusers.d/scopewatch.conf
folders=/etc/tmpfiles.d/scopewatch.conf
configuration=/etc/scopewatch/scopewatch.toml

if [ -z "$dest" ] && [ -z "$dry" ]; then
    [ "$(id -u)" -eq 0 ] || { echo "error: root is needed (sudo scripts/install.sh), or DESTDIR=FOLDER for a trial" >&2; exit 1; }
    command -v systemctl >/dev/null && [ -d /run/systemd/system ] ||
        { echo "error: systemd does not run here; start scopewatch run by other means, or use DESTDIR=FOLDER for a trial" >&2; exit 1; }
fi

# says what is done, and does it
act() {
    echo "$1"
    shift
    [ -n "$dry" ] || "$@"
}

# puts a file in its place: put MODE SOURCE PLACE
put() {
    mkdir -p "$(dirname "$dest$3")"
    # written beside it and renamed: a program that runs is not written over
    install -m "$1" "$2" "$dest$3.new"
    mv -f "$dest$3.new" "$dest$3"
}

put_unit() {
    mkdir -p "$(dirname "$dest$unit")"
    sed "s|/usr/local/bin/scopewatch|$program|" systemd/scopewatch.service >"$dest$unit"
    chmod 0644 "$dest$unit"
}

put_configuration() {
    mkdir -p "$(dirname "$dest$configuration")"
    sed 's|^dir = .*|dir = "/var/lib/scopewatch"|' config/scopewatch.toml >"$dest$configuration"
    chmod 0644 "$dest$configuration"
}

# removes a file or folder, and below DESTDIR the folders that are empty after it
take_away() {
    if [ ! -e "$dest$1" ]; then return 0; fi
    act "removing $dest$1" rm -rf -- "$dest$1"
    if [ -n "$dest" ] && [ -z "$dry" ]; then
        local folder=$1
        while folder=$(dirname "$folder") && [ "$folder" != / ]; do
            rmdir "$dest$folder" 2>/dev/null || break
        done
    fi
}

# commands of the system: left out below DESTDIR
system() {
    if [ -z "$dest" ]; then act "running $*" "$@"; fi
}

if [ -n "$uninstall" ]; then
    if [ -e "$dest$unit" ]; then
        system systemctl disable --now scopewatch.service
        # the program that was installed, whatever --prefix says now
        installed=$(sed -n 's|^ExecStart=\(/[A-Za-z0-9/._-]*/bin/scopewatch\) .*|\1|p' "$dest$unit")
        program=${installed:-$program}
    fi
    for file in "$unit" "$users" "$folders" "$program"; do take_away "$file"; done
    system systemctl daemon-reload
    if [ -n "$purge" ]; then
        for folder in "$unit.d" /etc/scopewatch /var/lib/scopewatch /var/log/scopewatch; do take_away "$folder"; done
        if [ -z "$dest" ] && getent passwd scopewatch >/dev/null; then system userdel scopewatch; fi
    else
        kept="/etc/scopewatch, /var/lib/scopewatch, /var/log/scopewatch"
        if [ -e "$dest$unit.d" ]; then kept="$unit.d, $kept"; fi
        echo "kept: $kept and the user scopewatch (--purge takes them away)"
    fi
    echo "scopewatch is uninstalled"
    exit 0
fi

[ -n "$binary" ] || binary=$(absolute "${CARGO_TARGET_DIR:-$PWD/target}")/release/scopewatch
[ -x "$binary" ] || { echo "error: $binary is not there: build it (cargo build --release), or name it with --binary" >&2; exit 1; }

act "installing $dest$program" put 0755 "$binary" "$program"
act "installing $dest$unit" put_unit
act "installing $dest$users" put 0644 systemd/scopewatch.sysusers "$users"
act "installing $dest$folders" put 0644 systemd/scopewatch.tmpfiles "$folders"
if [ -e "$dest$configuration" ]; then
    echo "keeping $dest$configuration as it is"
else
    act "installing $dest$configuration" put_configuration
fi
system systemd-sysusers "$users"
system systemd-tmpfiles --create "$folders"
system systemctl daemon-reload
if [ -z "$dest" ] && [ -z "$dry" ] && systemctl is-active --quiet scopewatch.service; then
    system systemctl restart scopewatch.service
    echo "scopewatch is updated and runs"
else
    echo "scopewatch is installed. Next: name the folders to watch in $configuration (watch.roots), then"
    echo "  systemctl enable --now scopewatch"
fi
