# shellcheck shell=bash
# Owns building the parts of an emulated machine: it installs Debian packages and packs an initramfs of busybox
# and kernel modules. Sourced by `prepare` and `machine/prepare` after `lib.sh`, never run.
# shellcheck disable=SC2154  # names of lib.sh

refresh_lists() {
    say "refreshing the package lists"
    as_root apt-get -qq update
}

install_packages() { # install_packages PACKAGE...
    have apt-get || fail "missing: $* (without apt they cannot be installed automatically: install them by hand)"
    say "installing $* (to run the tests on a kernel with WireGuard)"
    local -a command=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0
        install -y --no-install-recommends "$@")
    as_root "${command[@]}" >/dev/null 2>&1 || {
        refresh_lists
        as_root "${command[@]}" >/dev/null || fail "apt could not install $*"
    }
}

unpack_module() {
    case $1 in
    *.ko) cat -- "$1" ;;
    *.ko.xz) { have xz || install_packages xz-utils >&2; } && xz -dc -- "$1" ;;
    *.ko.zst) { have zstd || install_packages zstd >&2; } && zstd -qdc -- "$1" ;;
    *.ko.gz) gzip -dc -- "$1" ;;
    esac
}

# pack_initramfs FOLDER INIT MODULE...: creates FOLDER/initramfs. It runs INIT with busybox, and its file
# /modules.load lists the modules to load, in order. A module whose name ends in `?` may be missing.
pack_initramfs() {
    local release folder=$1 init=$2 name line path file
    shift 2
    release=$(<"$kernel_dir/release")
    mkdir -p "$folder/root/bin" "$folder/root/m"
    cp "$kernel_dir/busybox" "$folder/root/bin/busybox"
    cp "$init" "$folder/root/init"
    chmod 755 "$folder/root/init" "$folder/root/bin/busybox"
    : >"$folder/root/modules.load"
    for name in "$@"; do
        modprobe -C /dev/null -d "$kernel_dir" -S "$release" --show-depends "${name%\?}" >"$folder/list" 2>/dev/null ||
            [[ $name == *\? ]] || fail "kernel $release has no $name"
        while read -r line path; do
            [[ $line == insmod ]] || continue
            path=${path%% *}
            file=$(basename -- "$path")
            file=/m/${file%%.ko*}.ko
            grep -qxF "$file" "$folder/root/modules.load" && continue
            unpack_module "$path" >"$folder/root$file"
            printf '%s\n' "$file" >>"$folder/root/modules.load"
        done <"$folder/list"
    done
    (cd "$folder/root" && find . | "$kernel_dir/busybox" cpio -o -H newc 2>/dev/null) >"$folder/initramfs"
}
