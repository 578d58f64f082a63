# Arithmetic.
echo $((1 + 2 * 3)) $(((1 + 2) * 3)) $((7 / 2)) $((-7 / 2)) $((7 % 3)) $((-7 % 3))
echo $((1 << 10)) $((1024 >> 3)) $((5 & 3)) $((5 | 3)) $((5 ^ 3)) $((~5))
echo $((1 < 2)) $((2 <= 1)) $((1 == 1 && 2 == 3)) $((1 || 0)) $((!1))
a=5; echo $((a++)) $a $((++a)) $((a += 10)) $((a > 3 ? 1 : 0))
echo $((0x1f)) $((010)) $((9223372036854775807 + 1))
i=0; while [ $i -lt 100 ]; do i=$((i + 7)); done; echo $i
n=27; steps=0; while [ $n -ne 1 ]; do if [ $((n % 2)) -eq 0 ]; then n=$((n / 2)); else n=$((3 * n + 1)); fi; steps=$((steps + 1)); done; echo $steps
[ 3 -lt 20 ] && echo lt; [ abc != abd ] && echo ne; [ -n x -a -z "" ] && echo and
s=0; for k in $(seq 1 200); do s=$((s + k * k)); done; echo $s
(echo $((1 / 0))) 2>/dev/null; echo "by zero: $?"
printf '%d %x %o %5d|%-5d|%05d\n' 255 255 255 42 42 42
printf '%s %c %b\n' str char 'a\tb'
