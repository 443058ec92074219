"""Trains by the wall clock: warm-up, constant rate, then a decay; checkpoints can be resumed."""
import argparse, json, math, os, random, time, datetime, numpy as np, torch, torch.nn.functional as F
from tokenizers import Tokenizer
import skills
from data import encode_chat
from model import Model, Moe
torch.set_num_threads(2)
class Data:
    def __init__(s,d,seed):
        s.r=random.Random(seed);s.tok=Tokenizer.from_file(d+"/tokenizer.json");skills.WORDS=json.load(open(d+"/words.json"))
        s.stories=np.load(d+"/stories.npy");s.ci=np.load(d+"/chat_ids.npy");s.cm=np.load(d+"/chat_mask.npy");s.buf=([],[])
    def skill_row(s,T):
        ids,mask=s.buf
        while len(ids)<T+1:
            if s.r.random()<.04:
                q,a=s.r.choice(skills.IDENTITY);t=None if s.r.random()<.6 else "A greeting or a question about me."
            else:
                _,_,q,t,a=skills.skill(s.r)
                if s.r.random()<.2:t=None
            i,k=encode_chat(s.tok,[dict(role="user",content=q),dict(role="assistant",content=a)],t);ids+=i;mask+=k
        row=(ids[:T+1],mask[:T+1]);s.buf=(ids[T+1:],mask[T+1:]);return row
    def batch(s,B,T,share=.5):
        ids=[];mask=[]
        for i in range(B):
            if i<round(B*share): a,b=s.skill_row(T)
            elif (i%2)==0:
                o=s.r.randrange(len(s.stories)-T-1);a=s.stories[o:o+T+1];b=[1]*(T+1)
            else:
                o=s.r.randrange(len(s.ci)-T-1);a=s.ci[o:o+T+1];b=np.maximum(s.cm[o:o+T+1],0.0)+.3*(s.cm[o:o+T+1]==0)
            ids.append(np.asarray(a,np.int64));mask.append(np.asarray(b,np.float32))
        return torch.from_numpy(np.stack(ids)),torch.from_numpy(np.stack(mask))
def at(hm):
    if not hm: return None
    h,m=map(int,hm.split(":"));return datetime.datetime.now(datetime.timezone.utc).replace(hour=h,minute=m,second=0).timestamp()
def main():
    p=argparse.ArgumentParser();p.add_argument("--data");p.add_argument("--out");p.add_argument("--resume");p.add_argument("--stop",help="HH:MM, save and end");p.add_argument("--decay",help="HH:MM, decay to 0 until --stop");p.add_argument("--lr",type=float,default=.002);p.add_argument("--seed",type=int,default=1);p.add_argument("--rows",type=int,default=8);p.add_argument("--share",type=float,default=.5);a=p.parse_args()
    os.makedirs(a.out,exist_ok=True);torch.manual_seed(a.seed);m=Model();data=Data(a.data,a.seed+int(time.time())%100000)
    opts=[torch.optim.AdamW(m.parameters(),lr=a.lr,betas=(.9,.98),weight_decay=.01,fused=True)];base=[a.lr];step=tokens=0
    if a.resume:
        s=torch.load(a.resume);m.load_state_dict(s['model']);step,tokens=s['step'],s['tokens']
        for o,q in zip(opts,s['opts']):o.load_state_dict(q)
    moes=[x for x in m.modules() if isinstance(x,Moe)];stop,decay=at(a.stop),at(a.decay);saved=time.time();t0=time.time();hist=[]
    def save():
        torch.save(dict(model=m.state_dict(),opts=[o.state_dict() for o in opts],step=step,tokens=tokens),a.out+"/ck.tmp");os.replace(a.out+"/ck.tmp",a.out+"/ck.pt")
    m.train()
    while not stop or time.time()<stop:
        now=time.time();f=min(1,(step+1)/60)
        if decay and now>decay: f=min(f,max(.01,(stop-now)/(stop-decay)))
        for o,b in zip(opts,base):
            for g in o.param_groups:g['lr']=b*f
        long=decay and now>decay and step%6==0
        x,k=data.batch(2,2048,a.share) if long else data.batch(a.rows,512,a.share)
        with torch.autocast('cpu',torch.bfloat16): l=m(x[:,:-1])
        nll=F.cross_entropy(l.float().flatten(0,1),x[:,1:].flatten(),reduction='none').view(k.shape[0],-1);w=k[:,1:];loss=(nll*w).sum()/w.sum();loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(),1.0)
        for o in opts:o.step();o.zero_grad(set_to_none=True)
        u=.01 if step<600 else .003
        if decay and now>decay:u=.001
        for q in moes: q.bias-= u*torch.sign(q.load-q.load.mean());q.load.zero_()
        step+=1;tokens+=x.shape[0]*(x.shape[1]-1);n=round(x.shape[0]*a.share)
        part=lambda rows:((nll[rows]*w[rows]).sum()/w[rows].sum()).item()
        hist.append((part(slice(0,n)),part(slice(n,None))))
        if step%20==0:
            h=np.mean(hist[-20:],0);print(f"{time.strftime('%H:%M:%S')} step {step} tokens {tokens/1e6:.2f}M skill {h[0]:.4f} language {h[1]:.4f} rate {f:.2f} {20*a.rows*512/(time.time()-t0):.0f} tok/s",flush=True);t0=time.time()
        if time.time()-saved>240:save();saved=time.time()
    save()
main()
