#!/usr/bin/env bash
# Runs the tests of bf16 products where no processor with AMX is at hand: in Linux on Bochs, which emulates one (Sapphire Rapids).
# Fails unless they pass there with AMX.
#
# Two minutes, and two more the first time, for Bochs. For Debian 12 on x86-64, with cargo, g++, make and patch; needs no root: packages
# are unpacked in ~/.cache/lossmith-bochs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lossmith-bochs
root=$cache/root
mkdir -p "$cache"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Debian's packages, signatures checked by an apt with a state of its own: kernel, shell, boot loader, firmware, image maker.
if [ ! -e "$root" ]; then
    mkdir -p "$work"/apt/{lists,cache} "$work/debs" "$work/root"
    touch "$work/apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main" > "$work/apt/sources.list"
    cat > "$work/apt.conf" <<END
Dir::State "$work/apt";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Architecture "amd64";
APT::Sandbox::User "";
Acquire::Languages "none";
END
    export APT_CONFIG=$work/apt.conf
    apt-get -q update
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p')
    (cd "$work/debs" && apt-get -q download "$kernel" busybox-static isolinux syslinux-common genisoimage libmagic1 bochsbios vgabios)
    for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
    mv "$work/root" "$root"
fi

# Bochs: bookworm's is too old for AMX, later ones are not built for bookworm, and 3.0 needs the patch.
bochs=$cache/bochs-$(sha256sum "$here/amx_in_bochs.patch" | head -c 16)
if [ ! -e "$bochs" ]; then
    /usr/lib/apt/apt-helper download-file http://deb.debian.org/debian/pool/main/b/bochs/bochs_3.0+dfsg.orig.tar.xz \
        "$work/bochs.tar.xz" SHA256:78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b
    mkdir "$work/bochs"
    tar -xf "$work/bochs.tar.xz" -C "$work/bochs" --strip-components=1
    cd "$work/bochs"
    patch -p1 < "$here/amx_in_bochs.patch"
    CFLAGS=-O2 CXXFLAGS=-O2 ./configure --with-nogui --enable-x86-64 --enable-avx --enable-evex --enable-amx --enable-repeat-speedups \
        --enable-fast-function-calls --enable-handlers-chaining --disable-docbook --disable-plugins > "$work/log" || { tail "$work/log"; exit 1; }
    make -j"$(nproc)" >> "$work/log" 2>&1 || { tail "$work/log"; exit 1; }
    mv bochs "$bochs"
fi

cd "$here/.."
cargo test --release --workspace --lib --no-run 2>&1 | tee "$work/built" >&2
binary=$(sed -n 's/.*(\(.*lossmith_nets-[^)]*\))$/\1/p' "$work/built")

# A file system in memory: the tests, their libraries, a shell, and what the first process does.
guest=$work/guest
mkdir -p "$guest"/{bin,dev,lib,lib64,proc} "$work/disc"
cp "$root/bin/busybox" "$guest/bin"
cp "$binary" "$guest/bin/tests"
for library in $(ldd "$binary" | grep -o '/[^ ]*'); do
    mkdir -p "$guest$(dirname "$library")"
    cp -L "$library" "$guest$library"
done
cat > "$guest/init" <<END
#!/bin/busybox sh
box() { /bin/busybox "\$@"; }
box mount -t devtmpfs dev /dev
box mount -t proc proc /proc
exec > /dev/ttyS0 2>&1 < /dev/null
echo 1 > /proc/sys/kernel/printk
echo "guest: Linux \$(box uname -r)"
echo "flags: \$(box grep -m 1 ^flags /proc/cpuinfo | box tr ' ' '\n' | box grep -E 'amx|bf16' | box xargs)"
export PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
/bin/tests kernel::bf16 --nocapture --test-threads=1
echo "status: \$?"
box sleep 1
box poweroff -f
END
chmod +x "$guest/init"
(cd "$guest" && find . | bin/busybox cpio -o -H newc -R 0:0) > "$work/disc/initrd" 2> /dev/null

cp "$root"/boot/vmlinuz-* "$work/disc/linux"
cp "$root/usr/lib/ISOLINUX/isolinux.bin" "$root/usr/lib/syslinux/modules/bios/ldlinux.c32" "$work/disc"
# no5lvl: Bochs comes back from system management mode with four levels of page tables only. panic, reboot: an end, not a hang.
cat > "$work/disc/isolinux.cfg" <<END
default linux
label linux
    kernel linux
    initrd initrd
    append console=ttyS0 no5lvl nokaslr nosmp mitigations=off tsc=reliable no_timer_check panic=-1 reboot=t
END
LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu "$root/usr/bin/genisoimage" -quiet -o "$work/disc.iso" \
    -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$work/disc"

# IA32_MISC_ENABLE with fast strings: without them this kernel's memmove never ends on processors that claim fast short moves.
echo "0x1a0 0 00000000 00000001 00000000 00000000 00000000 00000000" > "$work/msrs"
cat > "$work/bochsrc" <<END
megs: 512
romimage: file=$root/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=$root/usr/share/vgabios/vgabios.bin
cpu: model=sapphire_rapids, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1, msrs=$work/msrs
boot: cdrom
ata0-master: type=cdrom, path=$work/disc.iso, status=inserted
com1: enabled=1, mode=file, dev=$work/serial
display_library: nogui
panic: action=fatal
error: action=ignore
log: $work/log
END
# It ends by a panic of Bochs's own even when the guest switches itself off.
timeout 1800 "$bochs" -q -f "$work/bochsrc" > "$work/out" 2>&1 < /dev/null || true

tr -d '\r' < "$work/serial" > "$work/said"
if ! sed -n '/^guest: /,$p' "$work/said" | grep . ; then
    tail -n 40 "$work/said" "$work/out" "$work/log"
    exit 1
fi
grep -q '^flags:.* amx_tile' "$work/said" || { echo "the guest has no AMX"; exit 1; }
! grep -q 'no AMX here' "$work/said" || { echo "the tests did not find AMX"; exit 1; }
grep -q 'the_machine_code_of_tiles_is_the_model ... ok' "$work/said" || { echo "the machine code of tiles was not tried"; exit 1; }
grep -q '^status: 0$' "$work/said" || { echo "the tests failed"; exit 1; }
echo "passed with AMX"
