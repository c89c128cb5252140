# shellcheck shell=bash disable=SC2034,SC2154 # names shared with `run`
# Owns the emulated machine itself: its devices, the daemons that share files with it, its two
# output streams, and the messages if it fails. Sourced by `run`, which owns the arguments, the
# temporary directory and the cleanup. Must not print anything on success.

"$guest_dir/prepare" || exit 125
accelerator=${SENTRAZONE_GUEST_ACCEL:-$(cut -d ' ' -f 1 "$cache/accelerator")}
[[ $icount == yes ]] && accelerator=tcg
kind=$accelerator

# Writes the settings for process 1 of the guest (`stage2`). The guest gets a new /tmp unless the run needs
# files from this machine's /tmp.
write_settings() { # write_settings PROGRAM ARG...
    local fresh_tmp=yes merge=no network=no path
    for path in "$PWD" "$guest_dir" "$cache" "$out_dir" "$@"; do
        [[ $path == /tmp/* && -e $path ]] && fresh_tmp=no
    done
    [[ /proc/self/fd/1 -ef /proc/self/fd/2 ]] && merge=yes
    ((${#forwards[@]})) && network=yes
    local release modules
    release=$(<"$kernel_dir/release")
    modules=$(readlink -f -- "$kernel_dir")/lib/modules/$release
    mark=SZ-END-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    local name
    for name in release modules out_dir fresh_tmp network merge mark; do
        printf '%s=%q\n' "$name" "${!name}"
    done >"$work/job/settings"
}

# Starts a child process that is killed when this shell ends, however it ends.
child() {
    setpriv --pdeathsig KILL "$@" </dev/null &
    children+=("$!")
}

share() { # share NAME DIRECTORY CACHE: starts a virtiofs daemon that listens on $work/NAME.sock
    local daemon limit
    daemon=$(virtiofsd_path) || fail "no virtiofsd"
    limit=$(ulimit -H -n)
    [[ $limit == unlimited || $limit -gt 1000000 ]] && limit=1000000
    local -a options=(--socket-path "$work/$1.sock" "--rlimit-nofile=$limit")
    if [[ $daemon == /usr/lib/qemu/* ]]; then
        options=("--socket-path=$work/$1.sock" "--rlimit-nofile=$limit" -f -o "source=$2" -o sandbox=chroot
            -o "cache=$3" -o log_level=err)
    else
        options+=(--shared-dir "$2" --sandbox chroot --cache "$3" --log-level error)
        # Announced submounts cannot be passed through the guest's overlay.
        [[ $("$daemon" --help) == *--no-announce-submounts* ]] && options+=(--no-announce-submounts)
    fi
    child "$daemon" "${options[@]}" >"$work/$1.log" 2>&1
}

listening() { # waits for the daemons' sockets
    local name
    for _ in {1..500}; do
        for name in "$@"; do
            [[ -S $work/$name.sock ]] || { sleep 0.01 && continue 2; }
        done
        return 0
    done
    fail "virtiofsd did not start: $(tail -n 3 "$work"/*.log)"
}

machine() { # prints QEMU's arguments, one per line
    local smp forward hosts=
    smp=$(nproc)
    ((smp > 2)) && smp=2
    if [[ $icount == yes ]]; then
        printf '%s\n' -accel tcg,thread=single -icount shift=2,sleep=off -cpu max
        smp=1
    elif [[ $accelerator == kvm ]]; then
        printf '%s\n' -accel kvm -cpu host
    else
        printf '%s\n' -accel tcg,thread=multi -cpu max
    fi
    printf '%s\n' -M q35 -smp "$smp" -m "$memory" -rtc base=utc \
        -nodefaults -no-user-config -no-reboot -display none -monitor none \
        -object "memory-backend-memfd,id=mem,size=${memory}M,share=on" -numa node,memdev=mem \
        -chardev "socket,id=host,path=$work/host.sock" \
        -device vhost-user-fs-pci,chardev=host,tag=host \
        -chardev "socket,id=share,path=$work/out.sock" \
        -device vhost-user-fs-pci,chardev=share,tag=out \
        -device virtio-rng-pci -device virtio-serial-pci,ioeventfd=off \
        -chardev "file,id=out,path=$work/stdout" -device virtserialport,chardev=out,name=sz.out \
        -chardev "file,id=err,path=$work/stderr" -device virtserialport,chardev=err,name=sz.err \
        -serial "file:$work/console" \
        -kernel "$kernel_dir/vmlinuz" -initrd "$(initramfs_path)" \
        -append "console=ttyS0 ${SENTRAZONE_GUEST_DEBUG:+ignore_loglevel }quiet oops=panic panic=-1 $quick sz.job=$work"
    if ((${#forwards[@]})); then
        for forward in "${forwards[@]}"; do
            local protocol=tcp
            [[ $forward == udp:* ]] && protocol=udp && forward=${forward#udp:}
            hosts+=",hostfwd=$protocol:127.0.0.1:${forward%%:*}-10.0.2.15:${forward#*:}"
        done
        printf '%s\n' -netdev "user,id=n0,ipv6=off$hosts" -device virtio-net-pci,netdev=n0,romfile=
    fi
}

emulate() { # emulate PROGRAM ARG...: leaves the program's exit code in `result`
    local ended qemu reader out err
    local -a arguments
    write_settings "$@"
    share host / always
    share out "$out_dir" auto
    mkfifo "$work/stdout" "$work/stderr"
    # Both pipes are held open here, so that neither side waits for the other to open its end.
    exec {out}<>"$work/stdout" {err}<>"$work/stderr"
    perl "$guest_dir/stream" "$mark" "$work/code" "$seconds" <"$work/stdout" {out}>&- {err}>&- &
    reader=$!
    children+=("$reader")
    perl "$guest_dir/stream" "$mark" "$work/code.err" 0 <"$work/stderr" >&2 {out}>&- {err}>&- &
    children+=("$!")
    local error_reader=$!
    listening host out
    mapfile -t arguments < <(machine)
    child qemu-system-x86_64 "${arguments[@]}" {out}>&- {err}>&- >"$work/qemu.log" 2>&1
    qemu=${children[-1]}
    started "$qemu" || start_again {out}>&- {err}>&-
    wait -n -p ended "$qemu" "$reader" || true
    exec {out}>&- {err}>&-
    if [[ $ended == "$qemu" ]]; then
        wait "$reader" || true
    fi
    result=
    [[ -f $work/code ]] && result=$(<"$work/code")
    if [[ $result == [0-9]* ]]; then
        wait "$error_reader" || true
        [[ -z ${SENTRAZONE_GUEST_DEBUG:-} ]] || save_log
        return 0
    fi
    explain "$ended" "$qemu" "$reader"
}

# The time within which the machine's files must be available. Under emulation, a kernel occasionally
# locks up before that (both processors spin, and the console stays empty).
boot_seconds=${SENTRAZONE_GUEST_BOOT_SECONDS:-90}

started() { # started QEMU: waits until the machine has started; fails if it does not
    local tenths
    for ((tenths = 0; tenths < boot_seconds * 10; tenths++)); do
        if [[ -e $out_dir/.$mark.up ]]; then
            rm -f "$out_dir/.$mark.up"
            return 0
        fi
        # If QEMU has ended, the caller reports it.
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}

start_again() { # ends this run and starts it again, at most twice; the program has not run yet
    local attempt=$((${SENTRAZONE_GUEST_ATTEMPT:-1} + 1))
    say "the emulated machine did not start within $boot_seconds s"
    save_log
    ((attempt <= 3)) || exit 125
    say "starting it again"
    kill -KILL "${children[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
    trap - EXIT INT TERM HUP
    SENTRAZONE_GUEST_ATTEMPT=$attempt exec "$guest_dir/run" "${original[@]}"
}

save_log() {
    mkdir -p "$cache/logs"
    log=$cache/logs/$(date -u +%Y%m%dT%H%M%SZ)-$$.log
    { cat "$work/qemu.log" "$work"/{host,out}.log "$work/console" 2>/dev/null || true; } | tr -d '\r' >"$log"
    say "console log: $log"
}

explain() { # prints the cause of the failure, the last console lines, and the path of the full log
    if [[ $result == timeout ]]; then
        say "the program did not end within $seconds s (--timeout)"
    elif [[ $1 == "$3" ]]; then
        exit 141 # the output is no longer being read
    else
        say "the emulated machine stopped before the program ended"
    fi
    save_log
    { grep -m 1 -A 14 'Kernel panic' "$log" || tail -n 15 "$log"; } >&2
    result=125
}
