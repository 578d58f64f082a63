# Loops, case, lists, redirections, read, options.
for i in 1 2 3 4 5; do [ $i = 2 ] && continue; [ $i = 4 ] && break; echo $i; done
i=0; until [ $i -ge 3 ]; do i=$((i + 1)); echo u$i; done
for a in x y; do for b in 1 2 3; do [ $b = 2 ] && continue 2; echo $a$b; done; done
case hello in h*) echo starts;; *) echo other;; esac
true && echo and || echo or; false && echo and || echo or
echo one > f; echo two >> f; cat < f; cat f f > g; wc -l < g
{ echo out; echo err >&2; } > o 2> e; cat o e
{ echo both; echo err >&2; } > b 2>&1; cat b
echo to-nowhere > /dev/null
exec 4< f; read l <&4; echo "$l"; read l <&4; echo "$l"; exec 4<&-
exec 5<> rw; echo rw >&5; exec 5>&-; cat rw
IFS=: read a b c <<END
1:2:3:4
END
echo "$a|$b|$c"
printf 'no newline' | { read x; echo "$? [$x]"; }
echo 'back\slash' | { read x; echo "$x"; }; echo 'back\slash' | { read -r x; echo "$x"; }
set -e; (false; echo not reached) || echo caught; set +e
(set -u; echo "$undefined") 2>/dev/null; echo "u: $?"
set -x; : traced 2>/dev/null; set +x
(set -C; echo x > f) 2>/dev/null; echo "noclobber $?"
nosuchcommand 2>/dev/null; echo "127? $?"
./f 2>/dev/null; echo "126? $?"
cat nosuchfile; echo "cat: $?"
test -f f && test -d . && test ! -e nope && echo tests
umask 077; touch private; stat -c %a private; umask
ulimit -n > /dev/null && echo limits
export E=exported; sh -c 'echo $E'; env -i A=1 sh -c 'echo $A$E'
x='a  b'; echo $x "$x"; IFS=,; y=1,2,3; set -- $y; echo $#; unset IFS
echo "${none:-default} ${none:=set} ${none} ${#none} ${none:+alt}"
command -v cat > /dev/null && echo found
time_is() { date -u -d @86400 +%Y-%m-%d; }; time_is
