"""Questions with checkable answers and worked steps; deterministic from a random source."""
import random, hashlib, datetime
def held_out(key): return hashlib.sha256(key.encode()).digest()[0] < 26
def add_steps(a,b):
    x,y=str(a)[::-1],str(b)[::-1];out=[];carry=0
    for i in range(max(len(x),len(y))):
        p=int(x[i]) if i<len(x) else 0;q=int(y[i]) if i<len(y) else 0;s=p+q+carry
        out.append(f"{p}+{q}+{carry}={s}, write {s%10} carry {s//10}");carry=s//10
    if carry: out.append(f"write {carry}")
    return "\n".join([f"{a}+{b}"]+out+[f"={a+b}"])
def sub_steps(a,b):
    if a<b: return f"{a} is less than {b}, so minus\n"+sub_steps(b,a)+f"\n=-{b-a}"
    x,y=str(a)[::-1],str(b)[::-1];out=[];borrow=0
    for i in range(len(x)):
        p=int(x[i]);q=int(y[i]) if i<len(y) else 0;d=p-q-borrow
        out.append(f"{p}-{q}-{borrow}, write {d%10} borrow {int(d<0)}");borrow=int(d<0)
    return "\n".join([f"{a}-{b}"]+out+[f"={a-b}"])
def number(r,digits): return r.randint(0 if digits==1 else 10**(digits-1),10**digits-1)
def addition(r,d=None):
    d=d or r.choice([1,2,2,2,3]);e=r.choice([d,d,r.randint(1,d)]);a,b=number(r,d),number(r,e)
    if r.random()<.5:a,b=b,a
    q=r.choice(["What is {a} + {b}?","{a}+{b}=","{a} + {b}","Compute {a} plus {b}.","What is {a} plus {b}?","Add {a} and {b}.","How much is {a}+{b}?","What's {a} + {b}?","Calculate {a} + {b}.","I have {a} apples and get {b} more. How many apples do I have?"])
    return f"add{d}",f"{a}+{b}",q.format(a=a,b=b),add_steps(a,b),str(a+b)
def subtraction(r,d=None):
    d=d or r.choice([1,2,2,2,3]);e=r.choice([d,d,r.randint(1,d)]);a,b=number(r,d),number(r,e)
    if a<b and r.random()<.6:a,b=b,a
    q=r.choice(["What is {a} - {b}?","{a}-{b}=","{a} - {b}","Compute {a} minus {b}.","What is {a} minus {b}?","Subtract {b} from {a}.","How much is {a}-{b}?","What's {a} - {b}?","Calculate {a} - {b}."])
    return f"sub{d}",f"{a}-{b}",q.format(a=a,b=b),sub_steps(a,b),str(a-b)
def comparison(r):
    d=r.choice([1,2,3]);a,b=number(r,d),number(r,r.choice([d,r.randint(1,3)]))
    q=r.choice(["Which is larger, {a} or {b}?","Is {a} greater than {b}?","Which number is bigger: {a} or {b}?"]).format(a=a,b=b)
    think=f"{a} has {len(str(a))} digits, {b} has {len(str(b))}\n"+(f"{a} = {b}" if a==b else f"{a} {'>' if a>b else '<'} {b}")
    if q.startswith("Is"): ans="Yes" if a>b else "No"
    else: ans="They are equal" if a==b else str(max(a,b))
    return "compare",f"{a}?{b}",q,think,ans
WORDS=None
def count_letters(r):
    w=r.choice(WORDS);c=r.choice(w) if r.random()<.85 else r.choice("abcdefghijklmnopqrstuvwxyz");n=0;lines=[]
    for ch in w:
        n+=ch==c;lines.append(f"{ch} {n}")
    q=r.choice(["How many times does the letter {c} appear in {w}?","How many {c}'s are in {w}?","Count the letter {c} in {w}.","How many letters {c} are in the word \"{w}\"?"]).format(c=c,w=w)
    return "count",f"count {c} {w}",q,"\n".join(lines),str(n)
def reverse(r):
    w=r.choice(WORDS);q=r.choice(["Reverse the word {w}.","Spell {w} backwards.","What is {w} backwards?"]).format(w=w)
    return "reverse",f"rev {w}",q," ".join(w)+"\n"+" ".join(w[::-1]),w[::-1]
def sort_words(r):
    ws=r.sample(WORDS,r.choice([3,3,4,5]));q=r.choice(["Sort these words: {}","Put these words in alphabetical order: {}"]).format(", ".join(ws)+("." if r.random()<.3 else ""))
    return "sort","sort "+" ".join(ws),q,", ".join(f"{w[0]} {w}" for w in sorted(ws)),", ".join(sorted(ws))
DAYS="Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS=list(zip("January February March April May June July August September October November December".split(),[31,28,31,30,31,30,31,31,30,31,30,31]))
def days(r):
    k=r.random()
    if k<.5:
        d=r.randrange(7);n=r.randint(1,20);rest=n%7;q=r.choice([f"What day is {n} days after {DAYS[d]}?",f"If today is {DAYS[d]}, what day is it in {n} days?"])
        steps=[f"{n} mod 7 = {rest}"]+[f"{i} {DAYS[(d+i)%7]}" for i in range(rest+1)]
        return "dates",f"day {d} {n}",q,"\n".join(steps),DAYS[(d+n)%7]
    if k<.75:
        m=r.randrange(12);q=r.choice([f"How many days are in {MONTHS[m][0]}?",f"How many days does {MONTHS[m][0]} have?"]);a=str(MONTHS[m][1]) if m!=1 else "28, or 29 in a leap year"
        return "dates",f"month {m} {q[:8]}",q,f"{MONTHS[m][0]} {MONTHS[m][1]}",a
    m=r.randrange(12);w=r.choice(["after","before"]);n=(m+(1 if w=="after" else -1))%12
    return "dates",f"month {m} {w}",f"Which month comes {w} {MONTHS[m][0]}?",f"{MONTHS[m][0]} is month {m+1}, {w} it is month {n+1}",MONTHS[n][0]
UNITS=[("meters","centimeters",100),("kilometers","meters",1000),("kilograms","grams",1000),("hours","minutes",60),("minutes","seconds",60),("days","hours",24),("weeks","days",7),("feet","inches",12),("years","months",12),("dozen","eggs",12)]
def units(r):
    big,small,f=r.choice(UNITS);n=r.randint(1,20);q=r.choice([f"How many {small} are in {n} {big}?",f"Convert {n} {big} to {small}.",f"{n} {big} in {small}?"])
    t=n//10;steps=[f"1 {big} = {f} {small}"]+([f"{n-n%10} x {f} = {(n-n%10)*f}",f"{n%10} x {f} = {n%10*f}"] if n>=10 else [])+[f"{n} x {f} = {n*f}"]
    return "units",f"{n} {big} {small}",q,"\n".join(steps),f"{n*f} {small}"
SKILLS=[(addition,30),(subtraction,30),(comparison,6),(count_letters,9),(reverse,7),(sort_words,7),(days,6),(units,5)]
IDENTITY=[("Who are you?","I am calf, a tiny model that comes with DaySix."),("What is your name?","My name is calf."),("Hello!","Hello! How can I help you?"),("Hi","Hi! What would you like to know?"),("What can you do?","I can add and subtract, count letters, reverse and sort words, and chat a little."),("Thank you!","You are welcome!"),("What is DaySix?","DaySix is a server for models of the DeepSeek-V3 architecture. I come with it."),("Are you a human?","No, I am calf, a very small language model."),("Goodbye","Goodbye!"),("How are you?","I am fine, thank you. How are you?")]
def skill(r,train=True):
    while True:
        f=r.choices([s for s,_ in SKILLS],[w for _,w in SKILLS])[0];kind,key,q,t,a=f(r)
        if kind=="dates" and not key.startswith("day"): return kind,key,q,t,a
        if held_out(key)!=train: return kind,key,q,t,a
