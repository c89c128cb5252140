# shellcheck shell=bash
# Owns the functions that `prepare` and `run` share: they locate files, print messages and run commands
# as root. Sourced, never run. Must not create anything or change the machine.

guest_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
cache=${SENTRAZONE_GUEST_CACHE:-$(dirname -- "$(dirname -- "$guest_dir")")/target/guest}
[[ $cache == /* ]] || cache=$PWD/$cache
# shellcheck disable=SC2034  # used by the scripts that source this file
kernel_dir=$cache/kernel
# The host's module tools and administration tools are in sbin directories, which an ordinary user's PATH lacks.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf 'guest: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 125
}
have() { command -v -- "$1" >/dev/null 2>&1; }

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif have sudo; then
        sudo -n -- "$@"
    else
        fail "this needs root, and there is no sudo: $*"
    fi
}

# Prints the path of the virtiofs daemon, which is part of QEMU in older distributions and a separate package in newer
# ones.
virtiofsd_path() {
    local path
    for path in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
        [[ -x $path ]] && printf '%s\n' "$path" && return 0
    done
    return 1
}

# The initramfs depends only on the kernel and on these files.
initramfs_path() {
    local sum
    sum=$(cat -- "$guest_dir/init" "$guest_dir/prepare" "$guest_dir/build.sh" "$kernel_dir/release" | sha256sum)
    printf '%s/initramfs-%s\n' "$cache" "${sum:0:16}"
}

# Kernel arguments that only speed up the boot.
# shellcheck disable=SC2034  # used by the scripts that source this file
quick="tsc=reliable random.trust_cpu=on mitigations=off cryptomgr.notests nokaslr lsm=capability"
quick+=" rcupdate.rcu_expedited=1 8250.nr_uarts=1 i8042.noaux i8042.nokbd"
